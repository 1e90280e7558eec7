"""Adds to the site the pages that follow from the code: the reference, and tutorials from notebooks.

`mkdocs.yml` names this file as a hook. Nothing that it writes is kept in the tree.
"""

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from griffe import Docstring, DocstringSectionAttributes, DocstringSectionParameters
from mkdocs.structure.files import File
from ml_collections import ConfigDict

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("first_map", "results")
ROOMS = ("models", "stimuli", "metrics", "activations", "alignment", "experiments", "paper", "report", "microworld")
# Pages from files outside docs/, and a figure that pages show.
COPIED = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
FIGURES = {"averaging.png": "vla/microworld/averaging.png"}
# A page of docs/ has `<!-- generated: NAME -->` where a generated table goes.
_MARK = re.compile(r"<!-- generated: (\w+) -->")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    sys.path.insert(0, str(ROOT))
    for path, source in COPIED.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text(encoding="utf-8")))
    for path, source in FIGURES.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_bytes()))
    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in generated tables, and lead links to files outside docs/ to their pages."""
    text = _MARK.sub(lambda match: TABLES[match[1]](), markdown)
    text = re.sub(r"\]\((?:\.\./)?docs/", "](", text)
    for path, source in {**COPIED, **FIGURES}.items():
        text = re.sub(rf"\]\((?:\.\./)?{re.escape(source)}\)", f"]({path})", text)
    for name in NOTEBOOKS:
        text = re.sub(rf"\]\((?:\.\./)?examples/{name}\.ipynb\)", f"]({name}.md)", text)
    return text


def pages() -> dict[str, str]:
    """The generated pages by path."""
    found = {f"{name}.md": notebook(name) for name in NOTEBOOKS}
    found |= {"reference/commands.md": commands(), "reference/configs.md": configs()}
    found |= {"reference/metrics.md": metrics(), "reference/checkpoints.md": checkpoints()}
    found |= {"reference/datasets.md": datasets(), "reference/vla.md": "# vla\n\n::: vla\n"}
    for room in ROOMS:
        found[f"reference/vla.{room}.md"] = _api(f"vla.{room}", sorted((ROOT / "vla" / room).rglob("*.py")))
    rest = sorted(path for path in (ROOT / "vla").glob("*.py") if path.name != "__init__.py")
    found["reference/vla.floor.md"] = _api("Devices, records, progress", rest)
    return found


def notebook(name: str) -> str:
    """A notebook as a page."""
    cells = json.loads((ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    title, rest = parts[0].split("\n", 1)
    hint = (
        f"This page is the notebook `examples/{name}.ipynb` of the repository. It also runs in a hosted notebook "
        "service: open the file there, choose a GPU, and name the repository in the first cell, which installs `vla`."
    )
    return "\n\n".join([title, rest.strip(), hint, *parts[1:]]) + "\n"


def _api(title: str, files: list[Path]) -> str:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    public = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in public)]) + "\n"


def _table(header: tuple[str, ...], rows: Iterator[tuple[Any, ...]] | list[tuple[Any, ...]]) -> str:
    def line(cells: tuple[Any, ...]) -> str:
        texts = [" ".join(str(cell).split()) for cell in cells]
        return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

    return "\n".join([line(header), line(("---",) * len(header)), *map(line, rows)]) + "\n"


# Commands and flags


def commands() -> str:
    """Every launch script: its docstring, and its flags with defaults."""
    parts = [
        "# Commands and flags\n\nEvery command also takes `--traceback`, which shows where in the code an error arose."
    ]
    # Scripts for a stage import it; their flags are its flags.
    _flags("launch.reproduce")
    for path in sorted((ROOT / "launch").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "entry.run(" not in text.partition('__name__ == "__main__"')[2]:
            continue
        module, defined = _flags(f"launch.{path.stem}")
        parts += [f"## launch.{path.stem}", _with_code(inspect.getdoc(module) or "")]
        if not defined and "reproduce" in vars(module):
            parts.append("Its flags are those of `launch.reproduce`.")
        elif defined:
            parts.append(_table(("flag", "default", "meaning"), [(f"`--{n}`", _code(d), h) for n, d, h in defined]))
    return "\n\n".join(parts) + "\n"


def _flags(name: str) -> tuple[ModuleType, list[tuple[str, Any, str]]]:
    """A launch module, and the flags that importing it defines: name, default, help."""
    importlib.import_module("launch.entry")
    before = set(flags.FLAGS)
    if name in sys.modules:  # so that its flags are defined again
        del sys.modules[name]
    module = importlib.import_module(name)
    defined = []
    for flag in sorted(set(flags.FLAGS) - before):
        default = flags.FLAGS[flag].default
        if isinstance(default, ConfigDict):
            (default,) = re.findall(r'entry\.define\("([^"]+)"', inspect.getsource(module))
        defined.append((flag, default, flags.FLAGS[flag].help or ""))
        # Other launch scripts define flags of the same names.
        delattr(flags.FLAGS, flag)
    return module, [(name, default, text) for name, default, text in defined if not _parts_of_config(name, defined)]


def _parts_of_config(name: str, defined: list[tuple[str, Any, str]]) -> bool:
    return "." in name and any(name.startswith(f"{other}.") for other, _, _ in defined)


def _with_code(text: str) -> str:
    """A docstring whose command lines are code."""
    # In a docstring, a backslash at the end of a line joins it with the next.
    text = re.sub(r" {6,}(?=--)", " \\\\\n    ", text)
    return re.sub(r"(?m)((?:^ *python -m .*\n(?: +--.*\n)*)+)", _block, f"{text}\n")


def _block(match: re.Match[str]) -> str:
    return f"\n```\n{textwrap.dedent(match[1])}```\n"


def _code(value: Any) -> str:
    return "" if value in (None, "") else f"`{value}`"


# Configs and settings

# Settings that are no field of a dataclass.
SETTINGS = {
    "experiments": "Ids of the paper's experiments to run.",
    "own_experiments": "Your own experiments: dictionaries of fields of `vla.experiments.experiment.Experiment`.",
    "layers": "Layers of experiments that name none: `all`, `penultimate`, or names.",
    "sweep": "Numbers of items at which alignment is measured, to show how far it depends on them.",
    "captions": "Captions of an item that are averaged at most: the human ones, then paraphrases.",
    "images": "Synthetic images of an item that are averaged at most.",
    "data.path": "Directory of the dataset.",
    "data.n": "Number of items drawn, or `all`.",
    "data.captions": "Captions file of the folder; by default the one that is found.",
    "data.missing_captions": "Images without a caption: `refuse` or `drop`.",
    "dataset": "Name of the dataset's reader, as of `vla.stimuli.read_dataset`.",
    "n_shown": "Items on the sheet.",
    "side": "Side of a shown image in pixels.",
    "image_views": "Views of the images: specs such as `rotation:angle=30`, or `all`.",
    "caption_views": "Views of the captions, likewise.",
    "vision_model": "A vision model whose own resizing and cropping is shown; empty for what every model is given.",
    "tags": "Folder of cached tags; empty for the default.",
    "kind": "What is generated.",
    "model": "Checkpoint or service model.",
    "microworld.n": "Number of scenes.",
    "microworld.seed": "Seed of the world.",
    "microworld.renderings": "Further images of each scene.",
    "microworld.paraphrases": "Paraphrases of each scene.",
    "microworld.models": "`trained` models of the package, or the same `untrained`.",
    "microworld.training": "Whether models are also compared with their checkpoints along training.",
    "client.kind": "The service: `gemini`, `openai` or `local`.",
    "vision": "Vision models, by group: Hub ids, directories or files of activations.",
    "language": "Language models, likewise.",
}


def configs() -> str:
    """Every config: its docstring, and its settings with defaults and meanings."""
    parts = [
        "# Configs and settings\n\n`--config=FILE:ARGUMENT` chooses a config, `--config.name=value` changes a setting. "
        "Lists are given as `a,b`. A setting without a default here keeps that of the function or metric that takes it."
    ]
    for path in sorted((ROOT / "configs").rglob("*.py")):
        module = _loaded(path)
        if not hasattr(module, "get_config"):
            continue
        name = path.relative_to(ROOT).as_posix()
        parts += [f"## {name}", _with_code(inspect.getdoc(module) or "")]
        rows = [(f"`config.{key}`", _code(value), text) for key, value, text in settings(module)]
        parts.append(_table(("setting", "default", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def settings(module: ModuleType) -> Iterator[tuple[str, Any, str]]:
    """The settings of a config module: key, default, and meaning ("" where none is known)."""
    for key, value in _flat(module.get_config()):
        yield key, _default(key) if value is None else value, _meaning(key)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _flat(config: ConfigDict, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, ConfigDict) and len(value):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _default(key: str) -> Any:
    """The default of the dataclass whose field a setting is; None without one, or if it is made anew each time."""
    group, _, name = key.rpartition(".")
    for source in _sources().get(group.split(".")[0], ()):
        fields = (
            {field.name: field.default for field in dataclasses.fields(source)}
            if dataclasses.is_dataclass(source)
            else {}
        )
        if fields.get(name, dataclasses.MISSING) is not dataclasses.MISSING:
            return fields[name]
    return None


def _meaning(key: str) -> str:
    """The meaning of a setting: from the table above, or of the dataclass or function whose field it is."""
    group, _, name = key.rpartition(".")
    top = group.split(".")[0]
    own = SETTINGS.get(key) or (SETTINGS.get(top) if top in ("vision", "language") else None)
    if own:
        return own
    if top == "processors":
        return described(_sources()[top][0])[top]
    for source in _sources()[top if top in _sources() else ""]:
        if name in described(source):
            return described(source)[name]
    return SETTINGS.get(name, "")


@functools.cache
def _sources() -> dict[str, list[Any]]:
    """The dataclasses and functions whose parameters are settings, by the first part of the setting's name."""
    from examples.microworld_training.settings import Settings
    from vla.activations.clip_score import clip_score
    from vla.experiments.choices import Choices
    from vla.experiments.study import ContentPlan, DatasetPlan, Study
    from vla.metrics import METRICS
    from vla.models import load_clip
    from vla.stimuli import generators, read_dataset
    from vla.stimuli.generators.client import BackOff

    of_metrics = [metric.settings for metric in METRICS.values()]
    clients = [generators.Gemini, generators.OpenAIServer, generators.LocalModel]
    return {
        "": [Study, DatasetPlan, Settings, read_dataset, load_clip],
        "data": [DatasetPlan, read_dataset],
        "datasets": [DatasetPlan, read_dataset],
        "choices": [Choices],
        "content": [ContentPlan],
        "overrides": of_metrics,
        "settings": [Choices, *of_metrics],
        "processors": [Study],
        "client": clients,
        "painter": [generators.StableDiffusion],
        "plan": [generators.plan_paraphrases, generators.plan_images],
        "run": [generators.generate_paraphrases, generators.generate_images],
        "back_off": [BackOff],
        "score": [clip_score],
    }


@functools.cache
def described(source: Any) -> Mapping[str, str]:
    """Fields or parameters with their descriptions: of a function, or of a class and its constructor."""
    found: dict[str, str] = {}
    for each in (*reversed(source.__mro__[:-1]), source.__init__) if inspect.isclass(source) else (source,):
        for section in Docstring(inspect.getdoc(each) or "").parse("google", warnings=False):
            if isinstance(section, DocstringSectionAttributes | DocstringSectionParameters):
                found |= {entry.name: entry.description for entry in section.value}
    return found


# Tables


def scores_columns() -> str:
    """The columns of `scores.parquet`."""
    from vla.alignment import table

    return table.described()


def choices() -> str:
    """The choices that the paper leaves open."""
    from vla.experiments.choices import ALTERNATIVES, POINTS, Choices

    defaults = {field.name: field.default for field in dataclasses.fields(Choices)}
    rows = [
        (
            point,
            f"`{name}`",
            f"`{defaults[name]}`",
            ", ".join(f"`{value}`" for value in ALTERNATIVES.get(name, ()) if value != defaults[name]),
            described(Choices)[name],
        )
        for name, point in POINTS.items()
    ]
    return _table(("the paper leaves open", "setting", "default", "alternatives", "meaning"), rows)


def metrics() -> str:
    """Every metric with its declared facts and settings."""
    from vla.metrics import METRICS

    parts = ["# Metrics\n\nAs `vla.list_metrics()` declares them."]
    for name, metric in METRICS.items():
        chance = "depends on the numbers of items and units" if metric.chance is None else f"{metric.chance:g}"
        facts = [
            ("formula", metric.formula),
            ("range", f"{metric.lowest:g} to {metric.highest:g}"),
            ("a layer with itself", f"{metric.perfect:g}"),
            ("better", "higher" if metric.higher_is_better else "lower"),
            ("direction", "x predicts y" if metric.directed else "symmetric"),
            ("chance", chance),
            ("invariances", ", ".join(sorted(metric.invariances)).replace("_", " ")),
            ("source", metric.source),
        ]
        parts += [f"## {name}", _table(("", ""), [fact for fact in facts if fact[1]])]
        texts = described(metric.settings)
        rows = [
            (f"`{field.name}`", _code(field.default), texts.get(field.name, ""))
            for field in dataclasses.fields(metric.settings)
        ]
        if rows:
            parts.append(_table(("setting", "default", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def checkpoints() -> str:
    """The registered checkpoints."""
    rows = [
        (f"[{one['id']}]({one['origin']})", one["family"], one["modality"], one["depth"], one["width"], one["licence"])
        for one in _register("checkpoint")
    ]
    table = _table(("checkpoint", "family", "modality", "layers", "width", "licence"), rows)
    return f"# Checkpoints\n\nOther checkpoints of these families load as well.\n\n{table}"


def datasets() -> str:
    """The registered datasets."""
    rows = [
        (f"[{one['name']}]({one['origin']})", f"`{one['id']}`", one.get("images", ""), one["licence"], one["citation"])
        for one in _register("dataset")
    ]
    return "# Datasets\n\n" + _table(("dataset", "name", "images", "licence", "citation"), rows)


def _register(kind: str) -> list[dict[str, Any]]:
    return tomllib.loads((ROOT / "third_party" / f"{kind}s.toml").read_text(encoding="utf-8"))[kind]


TABLES: dict[str, Callable[[], str]] = {"scores_columns": scores_columns, "choices": choices}
