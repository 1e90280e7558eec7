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
    """Values by name; the words behind them are in `vla.experiments.study`, `choices` and `configured`."""
    if arg not in PARTS:
        raise ValueError(f"Unknown argument {arg!r}; expected one of {', '.join(sorted(filter(None, PARTS)))}.")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.title = "Seeing Through Words, Speaking Through Pixels, reproduced"
    config.note = "A smoke run: two small models and 100 items show that everything works, and are no evidence." * smoke
    config.experiments = PARTS[arg]
    # Experiments of one's own, as dictionaries: see the README.
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
    config.content = content()
    config.metrics = ("linear_predictivity",)
    config.overrides = overrides()
    config.seed = 42
    config.seeds = ()
    config.null = 5
    # Draws of items for intervals of penultimate scores, such as 200.
    config.bootstrap = 0
    config.dtype = "float32"
    config.batch_size = 0
    config.stream = False
    config.tensor_parallel = 1
    config.workers = 0
    config.processors = ConfigDict()
    # Fields of config.json that models are read without, such as ("auto_map",).
    config.ignore_fields = ()
    config.store = ""
    config.scores = ""
    config.tags = ""
    config.older = "refuse"
    config.shard = "0/1"
    config.stage = "all"
    return config


def overrides() -> ConfigDict:
    """Settings of metrics, documented in `vla.list_metrics()[name].settings`; None keeps the default."""
    config = ConfigDict()
    for name in (
        # ridge regression
        "alphas", "outer_folds", "inner_cv", "alpha_per_target", "standardize_targets", "test_statistics", "measure",
        # of every metric: "duplicates" keeps items together that are the same stimulus
        "groups",
        # cka_rbf, mutual_knn, cknna
        "bandwidth", "neighbours", "nearness", "clip_quantile", "unbiased", "normalise", "offset",
        # rsa
        "dissimilarity", "comparison",
        # cca, svcca, pwcca
        "components", "regularisation", "squared", "variance", "weights",
        # shape distances, matching of units
        "alpha", "absolute",
    ):  # fmt: skip
        config[name] = placeholder(object)
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


def content() -> ConfigDict:
    """What of the alignment is looked into; the words are in `vla.experiments.content_plan`."""
    config = ConfigDict()
    # "all" pairs of models, the "first", or "none".
    config.pairs = "first"
    config.experiment = ""
    config.condition = ""
    # Ratings of words, such as Brysbaert's of concreteness, which you fetch yourself.
    config.norms = ""
    config.norms_word = "Word"
    config.norms_value = "Conc.M"
    config.norms_view = "original"
    config.instances = ""
    config.score = "correlation"
    config.n_directions = 5
    config.n_extreme = 5
    return config
