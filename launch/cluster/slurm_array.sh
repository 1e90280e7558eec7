#!/usr/bin/env bash
# The paper on a SLURM cluster: PARTS array tasks extract, as many score, one job writes the report.
#
#   PARTS=8 WORKDIR=/shared/paper launch/cluster/slurm_array.sh --config=configs/paper.py --config.dtype=bfloat16
#
# Run it from the clone, in the environment that has vla's requirements. WORKDIR must be seen by every node. What a node
# has finished when it is lost is kept: submit the same command again, and it goes on from there. SBATCH_* variables
# (SBATCH_PARTITION, SBATCH_ACCOUNT, ...) choose where it runs; OPTIONS are further options of sbatch.
set -euo pipefail

PARTS=${PARTS:-8}
WORKDIR=${WORKDIR:?the working directory, which every node sees}
OPTIONS=${OPTIONS:---gpus-per-task=1 --cpus-per-task=8 --mem=64G --time=12:00:00}
[ $# -gt 0 ] || { echo "usage: PARTS=8 WORKDIR=/shared/paper $0 --config=configs/paper.py ..." >&2; exit 2; }
mkdir -p "$WORKDIR/log"
command="python -m launch.reproduce $(printf '%q ' "$@") --workdir=$(printf '%q' "$WORKDIR")"

# shellcheck disable=SC2086
submit() { sbatch --parsable --chdir="$PWD" --output="$WORKDIR/log/%x-%A-%a.txt" $OPTIONS "$@"; }

extract=$(submit --job-name=vla-extract --array="0-$((PARTS - 1))" \
    --wrap="$command --config.stage=extract --config.shard=\$SLURM_ARRAY_TASK_ID/$PARTS")
# afterany: a part that failed leaves what it had finished, and the next stage says what is missing.
score=$(submit --job-name=vla-score --array="0-$((PARTS - 1))" --dependency="afterany:$extract" \
    --wrap="$command --config.stage=score --config.shard=\$SLURM_ARRAY_TASK_ID/$PARTS")
report=$(submit --job-name=vla-report --dependency="afterany:$score" --wrap="$command")
echo "extract $extract, score $score, report $report; logs in $WORKDIR/log"
