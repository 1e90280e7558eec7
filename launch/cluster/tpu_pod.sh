#!/usr/bin/env bash
# The paper on a TPU pod slice: the same command on every host, which share the items of every view and the tables.
#
#   TPU=my-pod ZONE=us-east5-b WORKDIR=/mnt/shared/paper STORE=gs://bucket/paper \
#       launch/cluster/tpu_pod.sh --config=configs/paper.py --config.dtype=bfloat16
#
# Every host needs the clone in ~/vla with vla's requirements and jax[tpu]. WORKDIR is a folder that all hosts see; the
# activation and score stores lie under STORE, which may be a bucket. Started again, it goes on where it was.
set -euo pipefail

: "${TPU:?name of the TPU slice}" "${ZONE:?its zone}" "${WORKDIR:?a folder that all hosts see}" "${STORE:=$WORKDIR}"
[ $# -gt 0 ] || { echo "usage: TPU=.. ZONE=.. WORKDIR=.. $0 --config=configs/paper.py ..." >&2; exit 2; }
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="cd ~/vla && \
python -m launch.reproduce --coordinator=auto $(printf '%q ' "$@") --workdir=$(printf '%q' "$WORKDIR") \
--config.store=$(printf '%q' "$STORE/activations") --config.scores=$(printf '%q' "$STORE/scores")"
