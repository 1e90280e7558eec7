"""The experiments of the paper, E1 to E13, as data with their claims and printed tests, and baselines that it lacks."""

import csv
import dataclasses
import functools
from collections import defaultdict
from pathlib import Path

from vla.checks import check_whole_number
from vla.experiments.experiment import Comparison, Condition, Experiment, Paper, PrintedTest
from vla.paper.seeing_through_words.claims import CLAIMS, main_claims

# Largest numbers of captions and images per item that the paper averages: five human captions and ten paraphrases, and
# two images for each of five captions (appendix A.4; the main text says up to 15 images).
CAPTIONS, IMAGES = 15, 10

MANIPULATED_IMAGES = "image manipulations"
MANIPULATED_CAPTIONS = "caption manipulations"
PREFERENCE = "preference"
CLIP_SCORE = "clip score"

PRINTED = Path(__file__).with_name("printed.csv")


@functools.cache
def printed() -> dict[str, tuple[PrintedTest, ...]]:
    """The tests that the paper prints, by experiment: `printed.csv`."""
    tests = defaultdict(list)
    with PRINTED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tests[row.pop("experiment")].append(PrintedTest(**row))
    return {experiment: tuple(rows) for experiment, rows in tests.items()}


def image_manipulations() -> tuple[tuple[Condition, ...], tuple[Comparison, ...]]:
    """Figure 3B."""
    part = MANIPULATED_IMAGES
    names = {"grayscale": "grayscale", "rotation": "rotation", "things only": "things_only", "stuff only": "stuff_only"}
    conditions = (Condition("original", part=part), *(Condition(n, image=spec, part=part) for n, spec in names.items()))
    return conditions, tuple(Comparison(name, "original", name) for name in names)


def caption_manipulations(original: str = "original") -> tuple[tuple[Condition, ...], tuple[Comparison, ...]]:
    """Figure 3D."""
    part = MANIPULATED_CAPTIONS
    names = {"nouns": "nouns", "nouns+verbs": "nouns_verbs", "scrambled": "scrambled"}
    conditions = (
        Condition(original, part=part),
        *(Condition(name, caption=spec, part=part) for name, spec in names.items()),
    )
    return conditions, tuple(Comparison(name, original, name) for name in names)


def preference() -> tuple[tuple[Condition, ...], tuple[Comparison, ...]]:
    """Figure 4A."""
    conditions = tuple(
        Condition(name, image=name.replace("-", "_"), part=PREFERENCE, dataset="pick_a_pic")
        for name in ("preferred", "non-preferred")
    )
    return conditions, (Comparison("Pick-a-Pic", "preferred", "non-preferred"),)


def clip_score() -> tuple[tuple[Condition, ...], tuple[Comparison, ...]]:
    """Figure 4B."""
    conditions = (
        Condition("highest CLIP Score", caption="best_by_clip", part=CLIP_SCORE),
        Condition("lowest CLIP Score", caption="worst_by_clip", part=CLIP_SCORE),
    )
    return conditions, (Comparison("CLIP Score", "highest CLIP Score", "lowest CLIP Score"),)


def averages(
    what: str, most: int, before: str = "", after: str = "", mark: str = "", claim: str = ""
) -> tuple[tuple[Condition, ...], tuple[Comparison, ...]]:
    """A curve over the number of exemplars averaged.

    Args:
      what: "captions" or "images".
      most: Length of the curve.
      before: Manipulation of each exemplar, such as "nouns".
      after: Step after averaging: "mismatched".
      mark: First word of the name of the series.
      claim: The claim that averaging raises alignment, for the summary of the page.
    """
    series = " ".join(part for part in (mark, what) if part)
    conditions = []
    for k in range(1, most + 1):
        spec = " + ".join(part for part in (before, f"average:k={k}") if part)
        image = spec if what == "images" else "original"
        caption = spec if what == "captions" else "original"
        caption = f"{caption} + {after}" if after else caption
        conditions.append(Condition(f"{series} {k}", image, caption, part=series, series=series, k=k))
    compared = (Comparison(f"{series} averaged", f"{series} {most}", f"{series} 1", claim),) if most > 1 else ()
    return tuple(conditions), compared


def experiments(captions: int = CAPTIONS, images: int = IMAGES) -> dict[str, Experiment]:
    """E1 to E13 by id.

    Args:
      captions: Most captions averaged, 1 or more; 5 needs no paraphrases.
      images: Most synthetic images averaged; 0 leaves them and E7 out.

    Raises:
      ValueError: A number out of range.
    """
    check_whole_number("captions", captions)
    check_whole_number("images", images, 0)
    e1 = Experiment(
        "E1",
        "Layer by layer",
        "In which layers do vision and language models agree, and in which direction?",
        (Condition("original"),),
        figure="2, 13",
        expected="Low in early layers, rising to middle and late ones. Language to vision: early language layers "
        "already predict late vision layers. Vision to language: graded with depth.",
        layers="all",
    )
    e2 = Experiment(
        "E2",
        "Manipulated images",
        "Does alignment depend on the content of an image, or on its appearance?",
        *image_manipulations(),
        figure="3A-B",
        expected="Things only and stuff only fall, stuff more; grayscale and rotation do not.",
    )
    conditions, compared = caption_manipulations()
    length = Condition("length only", caption="length", part=MANIPULATED_CAPTIONS)
    e3 = Experiment(
        "E3",
        "Manipulated captions",
        "Which words of a caption carry alignment, and does their order matter?",
        (*conditions, length),
        compared,
        figure="3C-D",
        expected="Vision to language falls for all three, scrambled most; language to vision not significantly.",
    )
    e4 = Experiment(
        "E4",
        "Human preference between images",
        "Does the image that people prefer for a prompt align better with it?",
        *preference(),
        figure="4A",
        expected="Preferred higher, both directions.",
        dataset="pick_a_pic",
    )
    e5 = Experiment(
        "E5",
        "Preference between captions, by CLIP Score",
        "Does the caption that fits its image best align better than the one that fits worst?",
        *clip_score(),
        figure="4B",
        expected="Highest higher, both directions.",
    )
    e6 = Experiment(
        "E6",
        "Captions averaged",
        "Does alignment rise when embeddings of several captions of an image are averaged?",
        *averages("captions", captions, claim="averaging captions raises alignment"),
        figure="5A",
        expected="Monotone; vision to language flattens near 10.",
    )
    e7 = Experiment(
        "E7",
        "Images averaged",
        "Does alignment rise when embeddings of several synthetic images of an item are averaged?",
        *averages("images", images or 1, claim="averaging images raises alignment"),
        figure="5B",
        expected="Rises; language to vision gains more; flattens near 7.",
    )
    e8 = Experiment(
        "E8",
        "Averaging with shuffled correspondence",
        "Does averaging raise alignment if images and captions do not belong together?",
        *_joined(
            averages("captions", captions, after="mismatched", mark="shuffled"),
            averages("images", images, after="mismatched", mark="shuffled"),
        ),
        figure="8",
        expected="Flat at about 0.",
        beside=("E6", "E7"),
    )
    e9 = Experiment(
        "E9",
        "Averaging manipulated captions",
        "Does averaging help with captions of nouns only, or with scrambled words?",
        *_joined(
            averages("captions", captions, before="nouns", mark="nouns"),
            averages("captions", captions, before="scrambled", mark="scrambled"),
        ),
        figure="9",
        expected="Still rises.",
    )
    averaged = _joined(averages("captions", captions), averages("images", images))
    e10 = Experiment(
        "E10",
        "Seven vision backbones",
        "Does averaging help for vision models with other objectives, data and sizes?",
        *averaged,
        figure="6",
        expected="AugReg IN-1k above DINO and DeiT at B/16; DINOv2 above DINO; AugReg IN-21k below its IN-1k; language "
        "to vision differs more across backbones.",
        vision="backbones",
    )
    core = _joined(image_manipulations(), caption_manipulations("original caption"), preference(), clip_score())
    e11 = Experiment(
        "E11",
        "Another metric: CKA",
        "Do E2 to E7 hold under CKA?",
        *_joined(core, averaged),
        figure="7",
        expected="Same signs; drop of things only not significant; gain by image averaging weaker.",
        metrics=("cka", "cka_debiased"),
    )
    e12 = Experiment(
        "E12",
        "Another dataset: Flickr8k",
        "Do E1, E5, E6 and E7 hold on Flickr8k?",
        *_joined(((Condition("original", layers="all"),), ()), clip_score(), averaged),
        figure="10, 11, 14",
        expected="Same patterns.",
        dataset="flickr8k",
    )
    e13 = Experiment(
        "E13",
        "Other language families",
        "Do E1 to E7 hold for Qwen2.5, Phi-3 and SmolLM2?",
        *_joined(((Condition("every layer", layers="all"),), ()), core, averaged),
        figure="12, 15",
        expected="Same patterns.",
        language="extra",
    )
    all_experiments = {
        each.id: dataclasses.replace(each, printed=printed().get(each.id, ()), claims=CLAIMS.get(each.id, ()))
        for each in (e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13)
    }
    if not images:
        del all_experiments["E7"]
    return all_experiments


def _joined(
    *parts: tuple[tuple[Condition, ...], tuple[Comparison, ...]],
) -> tuple[tuple[Condition, ...], tuple[Comparison, ...]]:
    return tuple(c for conditions, _ in parts for c in conditions), tuple(c for _, compared in parts for c in compared)


PAPER = Paper(
    name="seeing_through_words",
    citation="He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels",
    experiments=experiments,
    settings={"captions": CAPTIONS, "images": IMAGES},
    main_claims=main_claims,
)
