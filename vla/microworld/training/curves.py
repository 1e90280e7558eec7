"""A figure of losses against steps, beside a trivial guess."""

from pathlib import Path

from matplotlib.figure import Figure

from vla.microworld.training.loop import Row


def draw_curves(path: Path, rows: list[Row], constant: dict[str, float], title: str) -> None:
    """Write one panel per loss: training and held out, and the trivial guess as a line where there is one."""
    names = list(dict.fromkeys(row["loss"] for row in rows))
    figure = Figure(figsize=(2.6 * len(names) + 0.8, 2.6), dpi=80, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, colour in (("training", "#9aa5b1"), ("held out", "#1f5fa8")):
            points = [(row["step"], row["value"]) for row in rows if row["loss"] == name and row["part"] == part]
            axes.plot(*zip(*points, strict=True), color=colour, marker="." if part == "held out" else "", label=part)
        if name in constant:
            axes.axhline(constant[name], color="#c0392b", linestyle="--", linewidth=1, label="trivial guess")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if name == names[0]:
            axes.legend(frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
