"""Writes a run folder as the experiment engine leaves it, with all of E1 to E13 and numbers drawn from a seed."""

import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import stats

from vla.records import View
from vla.stimuli.samples import write_samples

VISION = ("vit-small", "vit-large")
LANGUAGE = ("teller-1b", "teller-3b", "reader-1b", "reader-3b")
EXTRA = ("qwen-like", "phi-like", "smol-like", "other-like")
BACKBONES = ("vit-small", "vit-large", "dino-b16", "augreg-1k", "augreg-21k", "deit-b16", "augreg-l16")
DIRECTIONS = ("vision_to_language", "language_to_vision")
LAYERS = ("embed", "block_1", "block_2", "block_3", "block_4", "final_norm")
METRICS = {"linear_predictivity": DIRECTIONS, "cka": ("symmetric",)}
IMAGES = {"original": 0.0, "grayscale": 0.003, "rotation": 0.001, "things only": -0.05, "stuff only": -0.12}
CAPTIONS = {"original": 0.0, "nouns": -0.03, "nouns+verbs": -0.04, "scrambled": -0.08}
PREFERENCES = {"preferred": 0.0, "non-preferred": -0.03}
CLIP = {"highest CLIP Score": 0.0, "lowest CLIP Score": -0.04}
STEPS = (0, 10, 100, 1000)
PARTS = {"E2": "image manipulations", "E3": "caption manipulations", "E4": "preference", "E5": "clip score"}
COMPARED = {
    "E2": ("manipulated images", "2", IMAGES), "E3": ("manipulated captions", "3C-D", CAPTIONS),
    "E4": ("preferred images", "4A", PREFERENCES), "E5": ("captions by CLIP Score", "4B", CLIP),
}  # fmt: skip


def noise(*words: object, scale: float = 1.0) -> float:
    """A number that depends on the words alone."""
    return float(scale * np.random.default_rng(zlib.crc32("/".join(map(str, words)).encode())).standard_normal())


def write_paper_run(folder: Path, vision=VISION, language=LANGUAGE, not_run=(), n: int = 500) -> Path:
    """Write scores.parquet, statistics.csv, curves.csv, run.json and samples; experiments in `not_run` are not run."""
    scores, curves, statistics, experiments = [], [], [], []
    for id, title, figure, dataset in _EXPERIMENTS:
        said = {"id": id, "title": title, "figure": figure, "dataset": dataset, "question": f"What does {title} do?"}
        said |= {"beside": ["E6", "E7"] if id == "E8" else []}
        said |= {"status": "run", "why": "", "command": "", "expected": f"expected of {id}", "metrics": [*METRICS]}
        if id in not_run:
            said |= {"status": "not run", "why": f"{id} needs <weights> that are absent.", "command": f"fetch {id}"}
            experiments.append({**said, "conditions": [], "comparisons": []})
            continue
        conditions, comparisons = _content(id, vision, language, n, scores, curves, statistics)
        experiments.append({**said, "conditions": conditions, "comparisons": comparisons})
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(scores).to_parquet(folder / "scores.parquet", index=False)
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    _with_q(pd.DataFrame(statistics)).to_csv(folder / "statistics.csv", index=False)
    (folder / "run.json").write_text(json.dumps(_run(experiments, vision, language, n), indent=1), encoding="utf-8")
    for name in {c["samples"] for e in experiments for c in e["conditions"]}:
        write_samples(folder / "samples", name, [_images(folder, name)], [_captions(name)], n=8)
    return folder


_EXPERIMENTS = (
    ("E1", "all layer pairs", "2, 13", "coco"), ("E2", "manipulated images", "3A-B", "coco"),
    ("E3", "manipulated captions", "3C-D", "coco"), ("E4", "preferred images", "4A", "pick_a_pic"),
    ("E5", "captions by CLIP Score", "4B", "coco"), ("E6", "averaged captions", "5A", "coco"),
    ("E7", "averaged images", "5B", "coco"), ("E8", "shuffled correspondence", "8", "coco"),
    ("E9", "averaged manipulated captions", "9", "coco"), ("E10", "vision backbones", "6", "coco"),
    ("E11", "CKA", "7", "coco"), ("E12", "Flickr8k", "10, 11, 14", "flickr8k"),
    ("E13", "further language models", "12, 15", "coco"), ("training", "alignment along training", "", "coco"),
    ("N sweep", "number of items", "", "coco"),
)  # fmt: skip


def _content(id, vision, language, n, scores, curves, statistics):
    conditions, comparisons = [], []
    ridge, cka = {"linear_predictivity": DIRECTIONS}, {"cka": ("symmetric",)}
    if id in ("E10",):
        vision = BACKBONES
    if id == "E13":
        language = EXTRA
    if id in ("E1", "E12", "E13"):
        conditions.append(_condition("original", n, "image manipulations"))
        scores += _maps(id, vision, language, n)
    wanted = {"E11": ("E2", "E3", "E4", "E5"), "E12": ("E5",), "E13": ("E2", "E3", "E4", "E5")}.get(id, (id,))
    for part in wanted:
        if part in COMPARED:
            group = COMPARED[part][2]
            if part == "E3" and id != "E3":
                group = {"original caption" if name == "original" else name: drop for name, drop in group.items()}
            names, where = [*group], PARTS[part]
            conditions += [_condition(name, n, where) for name in names if name not in {c["name"] for c in conditions}]
            comparisons += [{"name": low, "higher": names[0], "lower": low} for low in names[1:]]
            metrics = cka if id == "E11" else ridge
            _compare(id, group, vision, language, metrics, n, scores, statistics)
    series = {
        "E6": {"captions": 15}, "E7": {"images": 15}, "E8": {"shuffled captions": 15, "shuffled images": 15},
        "E9": {"nouns captions": 5, "scrambled captions": 5}, "E10": {"captions": 5, "images": 5},
        "E11": {"captions": 5, "images": 5}, "E12": {"captions": 5, "images": 5}, "E13": {"captions": 5, "images": 5},
    }.get(id, {})  # fmt: skip
    for name, most in series.items():
        for k in range(1, most + 1):
            for metric, direction, v, t in _cells(cka if id == "E11" else ridge, vision, language):
                base = 0.0 if "shuffled" in name else _base(v, t, direction) + 0.1 * (1 - np.exp(-(k - 1) / 3))
                score = base + noise(id, name, k, v, t, direction, scale=0.003)
                curves.append(
                    {"experiment": id, "series": name, "k": k, "vision_model": v, "language_model": t,
                     "metric": metric, "direction": direction, "n_items": n, "score": score}
                )  # fmt: skip
    for metric, direction, v, t in _cells(ridge, vision, language):
        row = {"experiment": id, "vision_model": v, "language_model": t, "metric": metric, "direction": direction}
        for step in STEPS if id == "training" else ():
            for depth, layer in enumerate(LAYERS[1:5], 1):
                score = 0.1 * depth * np.log10(step + 1) / 3 + noise(id, step, layer, v, t, direction, scale=0.01)
                curves.append({**row, "series": layer, "k": step, "n_items": n, "score": score})
        for k in (50, 100, 200, 400) if id == "N sweep" else ():
            score = _base(v, t, direction) - 0.02 * np.log2(k / 50) + noise(id, k, v, t, direction, scale=0.005)
            curves.append({**row, "series": "items", "k": k, "n_items": k, "score": score, "null_mean": 1 / k})
    for step in STEPS if id == "training" else ():
        conditions.append(_condition(f"step {step}", n) | {"series": "step", "k": step, "vision_group": f"at {step}"})
    return conditions, comparisons


def _cells(metrics, vision, language):
    return [(m, d, v, t) for m, directions in metrics.items() for d in directions for v in vision for t in language]


def _base(v, t, direction):
    return 0.35 + 0.05 * (direction == "vision_to_language") + noise(v, scale=0.02) + noise(t, scale=0.03)


def _condition(name, n, part=""):
    image = name if name in (*IMAGES, *PREFERENCES) else "original"
    caption = name if name in (*CAPTIONS, *CLIP) else "original"
    samples = f"coco--{image}--{caption}"
    given = {"name": name, "image": image, "caption": caption, "n_items": n, "left_out": 0, "samples": samples}
    given |= {"vision_group": "core", "language_group": "core"}
    given |= {"part": part, "series": "", "k": 0, "dataset": "coco", "layers": "penultimate", "status": "run"}
    return given | {"why": ""}


def _row(id, condition, v, t, metric, direction, layers, n, score):
    extra = {"dataset": "coco", "seed": 42, "protocol": "paper", "null_mean": 0.01, "p_value": 0.005, "p_max": 0.01}
    keys = {"vision_key": f"{zlib.crc32((condition + v).encode()):016x}", "language_key": f"{zlib.crc32(t.encode()):x}"}
    return {
        "experiment": id, "condition": condition, "vision_model": v, "language_model": t, "metric": metric,
        "direction": direction, "vision_layer": layers[0], "language_layer": layers[1], "n_items": n, "score": score,
        **extra, "calibrated": (score - 0.01) / 0.99, **keys,
    }  # fmt: skip


def _maps(id, vision, language, n):
    rows = []
    for metric, direction, v, t in _cells({"linear_predictivity": DIRECTIONS}, vision, language):
        for i, high in enumerate(LAYERS):
            for j, low in enumerate(LAYERS):
                if id != "E1" and (high, low) == ("block_3", "block_3"):
                    continue  # the penultimate pair is among the conditions
                score = 0.05 + 0.06 * i + 0.02 * j + noise(id, v, t, direction, i, j, scale=0.01)
                rows.append(_row(id, "original", v, t, metric, direction, (high, low), n, np.nan if not i else score))
    return rows


def _compare(id, group, vision, language, metrics, n, scores, statistics):
    names, found = [*group], {}
    for metric, direction, v, t in _cells(metrics, vision, language):
        for name in names:
            drop = group[name] + noise(id, name, v, t, direction, scale=0.008)
            found[metric, direction, v, t, name] = _base(v, t, direction) + drop
            layers = ("block_3", "block_3")
            scores.append(_row(id, name, v, t, metric, direction, layers, n, found[metric, direction, v, t, name]))
    for metric, directions in metrics.items():
        for low in names[1:]:
            for direction in directions:
                pairs = [(v, t) for v in vision for t in language]
                a, b = (np.array([found[metric, direction, v, t, c] for v, t in pairs]) for c in (names[0], low))
                tested = stats.ttest_rel(a, b)
                ci = tested.confidence_interval()
                difference = a - b
                statistics.append(
                    {"experiment": id, "comparison": low, "higher": names[0], "lower": low,
                     "metric": metric, "direction": direction, "n_pairs": len(pairs), "mean_higher": a.mean(),
                     "mean_lower": b.mean(), "mean_difference": difference.mean(), "ci_low": ci.low,
                     "ci_high": ci.high, "t": tested.statistic, "df": tested.df, "p": tested.pvalue,
                     "effect_size": difference.mean() / difference.std(ddof=1), "crossed_p": tested.pvalue,
                     "note": ""}
                )  # fmt: skip


def _with_q(frame):
    for _, group in frame.groupby(["experiment", "metric"]):
        frame.loc[group.index, "q"] = stats.false_discovery_control(group["p"])
    frame = frame.assign(family="pooled", paper_t=np.nan, paper_p="", paper_q="", verdict="")
    e2 = (frame["experiment"] == "E2") & (frame["lower"] == "stuff only")
    printed = {"paper_t": 10.1267, "paper_p": "<0.0001", "paper_q": "0.0001", "verdict": "same sign and significance"}
    frame.loc[e2, [*printed]] = [*printed.values()]
    frame.loc[(frame["experiment"] == "E2") & (frame["lower"] == "rotation"), "verdict"] = "differs"
    return frame


def _run(experiments, vision, language, n):
    names = {"vision": {*vision, *BACKBONES}, "language": {*language, *EXTRA}}
    models = [
        {"name": name, "modality": modality, "source": f"hub/{name}", "fingerprint": f"{zlib.crc32(name.encode()):x}",
         "layers": LAYERS, "width": 64, "pool": "cls" if modality == "vision" else "mean"}
        for modality, found in names.items() for name in sorted(found)
    ]  # fmt: skip
    models[0]["losses"] = {"steps": [0, 10, 100], "loss": [5.0, 3.0, 1.0], "baseline": 4.5, "unit": "nats per token"}
    return {
        "title": "The paper", "note": "Numbers drawn from a seed: an illustration, no evidence.", "models": models,
        "commands": {"run": "python -m launch.reproduce", "report": "python -m launch.report",
                     "cell": "python -m launch.reproduce --workdir=again"},
        "settings": {"protocol": "paper", "fold seed": 42, "BH family": "both directions pooled"},
        "datasets": [{"name": "coco", "role": "coco", "n": n, "seed": 42, "dropped": ["17"]},
                     {"name": "flickr8k", "role": "flickr8k", "n": n, "seed": 42, "dropped": 0},
                     {"name": "pick_a_pic", "role": "pick_a_pic", "n": n, "seed": 42, "dropped": 0}],
        "machine": "a laptop", "experiments": experiments, "versions": {"jax": "0"}, "times": {"scoring": 1.5},
    }  # fmt: skip


def _images(folder, name):
    (folder / "pictures").mkdir(exist_ok=True)
    paths = tuple(folder / "pictures" / f"{name}-{place}.png" for place in range(8))
    for place, path in enumerate(paths):
        Image.fromarray(np.full((40, 60, 3), 20 * place + len(name), np.uint8)).save(path)
    return View(f"{name}/image", "vision", tuple(f"item {i}" for i in range(8)), paths, "0")


def _captions(name):
    ids = tuple(f"item {i}" for i in range(8))
    return View(f"{name}/caption", "language", ids, tuple(f"a <b>house</b> & {id}" for id in ids), "0")
