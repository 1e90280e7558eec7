"""The whole paper: He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels, E1 to E13.

Question: where, how strongly and on what grounds do vision and language models agree?
Cost: `--dry_run` says it for this machine, a GPU and a TPU. Checkpoints of 60 GB, COCO val2017, Flickr8k and shards of
Pick-a-Pic are fetched unless directories are named.
Expect: the outcomes and the printed statistics of the paper, which the report sets beside ours.

    python -m launch.reproduce --config=configs/paper.py --workdir=paper --dry_run
    python -m launch.reproduce --config=configs/paper.py:core --workdir=paper --config.datasets.coco.directory=coco
    python -m launch.reproduce --config=configs/paper.py:E3 --config.choices.protocol=khosla_lab --config.seed=43 ...

Arguments: E1 ... E13, core (E1 to E9, E11), extra_llms (E13), backbones (E10), flickr8k (E12), smoke (E1 to E5, two
small models, 100 items). Paraphrases and synthetic images are made by `python -m launch.generate`, and named by
--config.datasets.coco.paraphrases and .synthetic; what needs them is else reported as not run.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import parts

ALL = tuple(f"E{i}" for i in range(1, 14))
PARTS = {
    **{id: (id,) for id in ALL},
    "": ALL,
    "core": (*ALL[:9], "E11"),
    "extra_llms": ("E13",),
    "backbones": ("E10",),
    "flickr8k": ("E12",),
    "smoke": ALL[:5],
}
# Parts on other photographs or language models than the sweep over items, for which it would fetch those as well.
ELSEWHERE = ("E4", "E12", "flickr8k", "E13", "extra_llms")


def get_config(arg: str = "") -> ConfigDict:
    """Settings; documented in `vla.experiments.study`, `choices` and `configured`."""
    if arg not in PARTS:
        raise ValueError(f"Unknown argument {arg!r}; expected one of {', '.join(sorted(filter(None, PARTS)))}.")
    smoke = arg == "smoke"
    config = parts.run()
    config.paper = "seeing_through_words"
    config.title = "Seeing Through Words, Speaking Through Pixels, reproduced"
    config.note = "A smoke run: two small models and 100 items show that everything works, and are no evidence." * smoke
    config.experiments = PARTS[arg]
    # Experiments of one's own, as dictionaries: see docs/own.md.
    config.own_experiments = ()
    config.captions = 15
    config.images = 10
    config.sweep = () if smoke or arg in ELSEWHERE else (125, 250, 500, 1000)

    config.datasets = ConfigDict()
    for role in ("coco", "flickr8k", "pick_a_pic"):
        config.datasets[role] = dataset({"coco": "coco_val2017"}.get(role, role), 100 if smoke else 1000)

    config.vision = ConfigDict()
    config.vision.core = ("facebook/dinov2-base",) if smoke else ("facebook/dinov2-base", "facebook/dinov2-large")
    config.vision.backbones = (
        "facebook/dinov2-base",
        "facebook/dinov2-large",
        "facebook/dino-vitb16",
        "timm/vit_base_patch16_224.augreg_in1k",
        "timm/vit_base_patch16_224.augreg_in21k",
        "timm/vit_large_patch16_224.augreg_in21k",
        "facebook/deit-base-distilled-patch16-224",
    )
    config.language = ConfigDict()
    config.language.core = (
        "bigscience/bloomz-1b1",
        "bigscience/bloomz-3b",
        "openlm-research/open_llama_3b",
        "openlm-research/open_llama_7b",
    )
    if smoke:
        config.language.core = ("bigscience/bloomz-560m",)
    config.language.extra = (
        "Qwen/Qwen2.5-3B",
        "Qwen/Qwen2.5-7B",
        "microsoft/Phi-3-mini-128k-instruct",
        "HuggingFaceTB/SmolLM2-1.7B",
    )

    config.choices = choices()
    config.content = parts.content()
    config.content.pairs = "first"
    config.metrics = ("linear_predictivity",)
    config.overrides = parts.metric_settings()
    return config


def dataset(name: str, n_items: int) -> ConfigDict:
    """Where the items of a role come from; the words are in `vla.experiments.study.DatasetPlan`."""
    config = ConfigDict()
    config.name = name
    config.directory = placeholder(str)
    config.n_items = n_items
    config.missing_images = "refuse"
    config.data_dir = placeholder(str)
    config.options = placeholder(object)
    config.paraphrases = ""
    config.synthetic = ""
    config.missing = "refuse"
    config.clip = "openai/clip-vit-base-patch32"
    config.tagger = "en_core_web_sm"
    return config


def choices() -> ConfigDict:
    """What the paper leaves open, by its likeliest reading; the words are in `vla.experiments.choices`."""
    config = ConfigDict()
    config.protocol = "paper"
    config.inner_cv = placeholder(object)
    config.inner_cv = "loo"
    config.alpha_per_target = False
    config.standardize_targets = placeholder(object)
    config.standardize_targets = "protocol"
    config.test_statistics = "protocol"
    config.constant_targets = "left_out"
    config.language_pool = "mean"
    config.vision_pool = "cls"
    config.caption = placeholder(object)
    config.caption = 0
    config.human_captions = 5
    config.clip_groups = "best_worst"
    config.long_captions = "refuse"
    config.ties = "drop"
    config.grouped = True
    config.masked_fill = "black"
    config.rotation_corners = "black"
    config.unmasked = "refuse"
    config.scramble_cut = "whitespace"
    config.empty_captions = "drop"
    config.averaging = "mean_first"
    config.synthetic_set = "synthetic"
    config.family = "pooled"
    config.symmetric_items = "all"
    return config
