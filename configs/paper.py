"""The whole paper: He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels, E1 to E13.

Question: where and how strongly do vision and language models agree, and why?
Cost: `--dry_run` estimates it for this machine, a GPU and a TPU. Checkpoints of 60 GB, COCO val2017, Flickr8k and
shards of Pick-a-Pic are downloaded unless folders are named.
Expect: the outcomes and the statistics that the paper prints; the report compares them.

    python -m launch.reproduce --config=configs/paper.py --workdir=paper --dry_run
    python -m launch.reproduce --config=configs/paper.py:core --workdir=paper --config.datasets.coco.directory=coco
    python -m launch.reproduce --config=configs/paper.py:E3 --config.choices.protocol=khosla_lab --config.seed=43 ...

Arguments: E1 ... E13, core (E1 to E9, E11), extra_llms (E13), backbones (E10), flickr8k (E12), smoke (E1 to E5, two
small models, 100 items). `python -m launch.generate` makes paraphrases and synthetic images;
--config.datasets.coco.paraphrases and .synthetic name their folders. Without them the experiments that need them are
reported as not run.
"""

from ml_collections import ConfigDict

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
# Parts without the sweep over numbers of items, which would download further datasets and models.
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
    # Your own experiments, as dictionaries: see docs/own.md.
    config.own_experiments = ()
    config.captions = 15
    config.images = 10
    config.sweep = () if smoke or arg in ELSEWHERE else (125, 250, 500, 1000)

    config.datasets = ConfigDict()
    for role in ("coco", "flickr8k", "pick_a_pic"):
        config.datasets[role] = parts.dataset({"coco": "coco_val2017"}.get(role, role), 100 if smoke else 1000)
        config.datasets[role].clip = "openai/clip-vit-base-patch32"

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

    config.choices = parts.choices()
    config.content = parts.content()
    config.content.pairs = "first"
    config.metrics = ("linear_predictivity",)
    config.overrides = parts.metric_settings()
    return config
