"""List the registered checkpoints with size and licence, and whether they are cached.

    python -m launch.models --modality=language
    python -m launch.models --family=timm --format=csv

Other checkpoints of these families can be loaded too, by Hub id or from a directory.
"""

import csv
import json
import sys
from typing import Any

from absl import flags

from launch import entry

MODALITY = flags.DEFINE_enum("modality", None, ["language", "vision"], "Only checkpoints of this modality.")
FAMILY = flags.DEFINE_string("family", None, "Only checkpoints of this architecture family.")
FORMAT = flags.DEFINE_enum("format", "table", ["table", "csv", "json"], "How to print them.")

COLUMNS = ("id", "family", "modality", "layers", "width", "heads", "input", "parameters", "disk_gb", "dtype", "licence")


def rows() -> list[dict[str, Any]]:
    """The selected checkpoints in the order of the register, as columns."""
    from vla.models.catalogue import checkpoints
    from vla.models.source import is_cached

    families = sorted({checkpoint.family for checkpoint in checkpoints()})
    if FAMILY.value not in (None, *families):
        raise ValueError(f"no family is called {FAMILY.value!r}; there are: {', '.join(families)}")
    chosen = [
        checkpoint
        for checkpoint in checkpoints()
        if MODALITY.value in (None, checkpoint.modality) and FAMILY.value in (None, checkpoint.family)
    ]
    entries = []
    for checkpoint in chosen:
        values = {column: getattr(checkpoint, column, None) for column in COLUMNS}
        values["layers"], values["disk_gb"] = checkpoint.depth, round(checkpoint.disk_bytes / 1e9, 2)
        entries.append({**values, "cached": is_cached(checkpoint.id), "revision": checkpoint.revision})
    return entries


def print_table(entries: list[dict[str, Any]]) -> None:
    """As people read it."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*("id", "family", "layers", "width", "input", "parameters", "disk", "licence", "commit", "cached"))
    for row in entries:
        side = f"{row['input']} {'px' if row['modality'] == 'vision' else ''}"
        numbers = str(row["layers"]), str(row["width"]), side
        size = f"{row['parameters'] / 1e6:,.0f} M", f"{row['disk_gb']:.2f} GB {row['dtype']}"
        commit = "not pinned" if row["revision"] == "main" else row["revision"][:7]
        known = row["licence"], commit, "yes" if row["cached"] else ""
        table.add_row(row["id"], row["family"], *numbers, *size, *known)
    # If the output is a file, rich assumes a narrow terminal.
    Console(width=None if sys.stdout.isatty() else 220).print(table)


def main() -> None:
    """Flags to a list on standard output."""
    entries = rows()
    if FORMAT.value == "json":
        print(json.dumps(entries, indent=1))
    elif FORMAT.value == "csv":
        writer = csv.DictWriter(sys.stdout, list(entries[0]) if entries else COLUMNS)
        writer.writeheader()
        writer.writerows(entries)
    else:
        print_table(entries)


if __name__ == "__main__":
    entry.run(main)
