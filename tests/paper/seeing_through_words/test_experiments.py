"""The catalogue against the paper's table, and what cannot be asked."""

import dataclasses

import pandas as pd
import pytest
from scipy import stats

from configs import paper
from vla.experiments.choices import Choices
from vla.experiments.experiment import as_experiment, read_side
from vla.experiments.tables import directions, needs, tables
from vla.paper import study
from vla.paper.seeing_through_words.experiments import PRINTED, experiments


def printed():
    """The printed table as text."""
    return pd.read_csv(PRINTED, dtype=str, keep_default_na=False)


def test_every_experiment_carries_its_printed_tests():
    carried = [(one.id, *dataclasses.astuple(test)) for one in experiments().values() for test in one.printed]
    columns = ["experiment", "comparison", "metric", "direction", "sign", "significant", "t", "p", "q", "source"]
    assert sorted(carried) == sorted(printed()[columns].itertuples(index=False, name=None))


def test_every_printed_number_belongs_to_a_comparison_of_the_paper():
    known = {(one.id, comparison.name) for one in experiments().values() for comparison in one.comparisons}
    table = printed()
    assert set(zip(table["experiment"], table["comparison"], strict=True)) <= known
    assert not table.duplicated(["experiment", "comparison", "metric", "direction"]).any()


def test_printed_signs_and_significance_agree_with_the_printed_numbers():
    table = printed().query("t != ''")
    assert len(table) == 35
    assert ((table["t"].astype(float) > 0) == (table["sign"] == "+")).all()
    level = [float((q or p).strip("<")) for q, p in zip(table["q"], table["p"], strict=True)]
    assert ((pd.Series(level) < 0.05) == (table["significant"] == "yes").to_numpy()).all()


def test_every_printed_p_and_q_follows_from_the_printed_t():
    """Families of manipulations pool both directions; what the paper does not print of them is not significant."""
    table = printed()
    exact = [2 * stats.t.sf(abs(float(t)), 7) if t else 0.5 for t in table["t"]]
    kinds = {"images": ("grayscale", "rotation", "things only", "stuff only"),
             "captions": ("nouns", "nouns+verbs", "scrambled")}  # fmt: skip
    for id in ("E2", "E3", "E13"):
        for names in kinds.values():
            rows = table.index[(table["experiment"] == id) & table["comparison"].isin(names)]
            found = stats.false_discovery_control([exact[row] for row in rows]) if len(rows) else ()
            for row, q in zip(rows, found, strict=True):
                assert table.loc[row, "q"] in ("", _printed(q)), table.loc[row].to_dict()
    for p, row in zip(exact, table.to_dict("records"), strict=True):
        if row["t"] and row["p"] != "<0.001":
            # .2226 is printed for what is .22254.
            assert row["p"] in (_printed(p), "0.2226"), row


def _printed(value):
    return "<0.0001" if value < 0.00005 else f"{value:.4f}"


def test_averages_take_human_captions_before_paraphrases():
    side = read_side("nouns + average:k=7", "language", Choices())
    assert tuple(map(str, side.members)) == (
        "nouns", "nouns:index=1", "nouns:index=2", "nouns:index=3", "nouns:index=4",
        "nouns:index=0,source=paraphrase", "nouns:index=1,source=paraphrase",
    )  # fmt: skip
    images = read_side("average:k=2", "vision", Choices(synthetic_set="with_photograph"))
    assert tuple(map(str, images.members)) == ("original", "original:index=0,source=synthetic")
    assert read_side("average:k=1", "language", Choices()).members == read_side(None, "language", Choices()).members


def test_choices_reach_the_views():
    chosen = Choices(masked_fill="mean", rotation_corners="gray", caption="seeded", clip_groups="median")
    assert tuple(map(str, read_side("things_only", "vision", chosen).members)) == ("things_only:fill=mean",)
    assert tuple(map(str, read_side("rotation:angle=30", "vision", chosen).members)) == (
        "rotation:angle=30,corners=gray",
    )
    assert tuple(map(str, read_side("nouns", "language", chosen).members)) == ("nouns:index=seeded",)
    assert len(read_side("best_by_clip", "language", chosen).members) == 2


@pytest.mark.parametrize(
    ("modality", "spec", "words"),
    [
        ("vision", "greyscale", "no image view is called 'greyscale'; expected one of average, blur"),
        ("language", "noun", "no caption view is called 'noun'; expected one of average, best_by_clip"),
        ("vision", "rotation:degrees=3", "rotation has no parameter 'degrees'"),
        ("vision", "mismatched", "no image view is called 'mismatched'"),
        ("language", "average:k=0", "average needs a number k"),
        ("language", "nouns + best_by_clip", "best_by_clip can only be combined with mismatched"),
    ],
)
def test_unknown_views_are_refused_with_what_there_is(modality, spec, words):
    with pytest.raises(ValueError, match=words):
        read_side(spec, modality, Choices())


def test_the_paper_in_parts():
    whole = study(paper.get_config().to_dict())
    assert [one.id for one in whole.experiments] == [f"E{i}" for i in range(1, 14)] + ["N sweep"]
    assert len(whole.pairs(whole.experiments[1].conditions[0])) == 8
    assert {one.id for one in study(paper.get_config("core").to_dict()).experiments} >= {"E1", "E9", "E11"}
    (e3, _) = study(paper.get_config("E3").to_dict()).experiments
    assert (e3.id, e3.layers) == ("E3", "penultimate")
    with pytest.raises(ValueError, match="Unknown argument 'E14'; expected one of E1, E10"):
        paper.get_config("E14")
    assert directions("cka") == ("symmetric",)


@pytest.mark.parametrize("part", sorted(paper.PARTS))
def test_a_sweep_over_items_needs_no_dataset_or_model_that_its_part_does_not(part):
    found = study(paper.get_config(part).to_dict())
    needed = {key[1:3] for key in needs(dataclasses.replace(found, experiments=own(found)))}
    assert {key[1:3] for key in needs(found)} == needed
    assert (len(found.experiments) > len(own(found))) is (part not in (*paper.ELSEWHERE, "smoke"))


def own(found):
    return tuple(one for one in found.experiments if one.id != "N sweep")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experiments": ("E3", "E33")}, "no experiment is called 'E33'; there are E1, E2"),
        ({"metrics": ("ckaa",)}, "metric='ckaa'; expected one of"),
        ({"shard": "4/4"}, "shard=4/4: expected i/n"),
        ({"shard": "4"}, "expected i/n, such as 0/4"),
        ({"older": "use"}, "older='use'; expected one of recompute, refuse"),
        ({"language": {"core": ()}}, "the group 'core' has no language models"),
        ({"colour": 3}, "the config has no setting colour; it has batch_size"),
        ({"own_experiments": ({"id": "X", "title": "", "question": "", "layers": "first",
                               "conditions": ({"name": "a"},)},)}, "layers='first'; expected one of all, penultimate"),
    ],
)  # fmt: skip
def test_mistakes_in_a_config_are_one_clear_line(changes, words):
    with pytest.raises(ValueError, match=words):
        study({**paper.get_config("E3").to_dict(), **changes})


def test_an_experiment_in_a_few_lines_of_config():
    mine = as_experiment(
        {
            "id": "blur",
            "title": "Blurred images",
            "question": "Does alignment survive blur?",
            "conditions": ({"name": "original"}, {"name": "blurred", "image": "blur:sigma=4"}),
            "comparisons": ({"name": "blur", "higher": "original", "lower": "blurred"},),
        }
    )
    assert mine.condition("blurred").layers == "penultimate"
    with pytest.raises(ValueError, match=r"unknown \['picture'\], missing \['name'\]; it has the fields name, image"):
        as_experiment({"id": "x", "title": "", "question": "", "conditions": ({"picture": "blur"},)})
    with pytest.raises(ValueError, match="no condition 'blured'; there are blurred, original"):
        dataclasses.replace(mine, comparisons=(dataclasses.replace(mine.comparisons[0], lower="blured"),))


def test_conditions_may_name_models_of_their_own():
    given = {
        "id": "mine", "title": "Mine", "question": "?", "vision": "nobody",
        "conditions": ({"name": "now", "vision": "late"}, {"name": "then", "vision": "early", "language": "early"}),
    }  # fmt: skip
    config = paper.get_config("E1").to_dict() | {"experiments": (), "own_experiments": (given,), "sweep": ()}
    config |= {"vision": {"late": ("v",), "early": ("v@1", "w@1")}, "language": {"core": ("t", "u"), "early": ("t@1",)}}
    found = study(config)
    (mine,) = found.experiments
    now, then = (found.pairs(one) for one in mine.conditions)
    assert now == [("v", "t"), ("v", "u")] and then == [("v@1", "t@1"), ("w@1", "t@1")]
    scored = [(one.vision, one.language) for one in tables(found)]
    assert scored == [pair for pair in (*now, *then) for _ in range(2)], "no pair across groups"
    assert {key[1] for key in needs(found)} == {"v", "v@1", "w@1", "t", "u", "t@1"}
    assert found.models(mine, "vision") == ["v", "v@1", "w@1"]
    with pytest.raises(ValueError, match="'mine': the group 'core' has no language models"):
        study(config | {"language": {"early": ("t@1",)}})
