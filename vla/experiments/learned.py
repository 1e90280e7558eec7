"""What a checkpoint learned, where its folder says so: losses beside a trivial guess."""

import csv
import json
from pathlib import Path
from typing import Any


def learned(source: str) -> dict[str, Any]:
    """Losses of a model that was trained by `launch.train`, for the report; {} of any other.

    Args:
      source: A checkpoint's folder, in which `training.json` has held-out losses by name under "trivial", "untrained"
        and "trained", and `losses.csv` the columns step, part, loss and value.

    Returns:
      `held_out`, by loss its values "trivial", "untrained" and "trained"; and `losses`: `steps`, `loss`, `baseline` and
      `unit` of the whole loss on held-out data.
    """
    report, along = Path(source) / "training.json", Path(source) / "losses.csv"
    if not (report.is_file() and along.is_file()):
        return {}
    held_out = json.loads(report.read_text(encoding="utf-8"))["held_out"]
    with along.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["part"], row["loss"]) == ("held out", "loss")]
    return {
        "held_out": {
            name: {when: losses[name] for when, losses in held_out.items() if name in losses}
            for name in held_out["trivial"]
        },
        "losses": {
            "steps": [int(row["step"]) for row in rows],
            "loss": [float(row["value"]) for row in rows],
            "baseline": held_out["trivial"]["loss"],
            "unit": "loss on held-out data",
        },
    }
