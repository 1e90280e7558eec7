"""The report of a run: one page that needs no other file, says what is missing, and is the same every time."""

import functools
import html
import json
import re
import shlex
from html.parser import HTMLParser

import pandas as pd
import pytest

from tests.report.paper_run import write_paper_run
from vla.report import write
from vla.report.write import write_report

VOID = {"img", "meta", "br", "link"}


class Reader(HTMLParser):
    """What a page is made of; fails on elements that are not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.links, self.images, self.headings = [], [], [], [], [], []
        self.cells, self.text = [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.targets += [given[name][1:] for name in ("href",) if given.get(name, "").startswith("#")]
        self.targets += [given[name] for name in ("aria-labelledby",) if name in given]
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag == "img":
            self.images.append(given)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "th":
            self.cells.append(given.get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else, near {self.getpos()}"

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_paper_run(
        tmp_path_factory.mktemp("run"),
        vision=("vit-small",),
        language=("teller-1b", "reader-3b"),
        not_run=("E10", "E13"),
    )
    return folder, write_report(folder, [".svg"], show_progress=False)


@pytest.fixture(scope="module")
def read(run):
    reader = Reader()
    reader.feed(run[1].read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_stands_alone_and_its_links_lead_somewhere(read):
    assert len(read.ids) == len(set(read.ids))
    assert set(read.targets) <= set(read.ids)
    outside = {link for link in read.links if not link.startswith(("#", "data:"))}
    assert outside and all(link.startswith("../") for link in outside), "only to files of the run beside it"


def test_links_to_files_of_the_run_lead_to_files(run, read):
    for link in {link for link in read.links if link.startswith("../")}:
        assert (run[1].parent / link).is_file(), link


def test_the_page_can_be_heard(read):
    assert len(read.images) > 20 and all(len(image["alt"]) > 10 for image in read.images)
    assert read.headings[0] == 1 and read.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    assert set(read.cells) <= {"row", "col"}


def test_the_note_stands_on_top_and_texts_are_escaped(run):
    page = run[1].read_text(encoding="utf-8")
    assert page.index("an illustration, no evidence") < page.index('id="outcome"')
    assert "<weights>" not in page and "E10 needs &lt;weights&gt; that are absent." in page
    assert "a &lt;b&gt;house&lt;/b&gt; &amp; item 3" in page


def test_experiments_that_were_not_run_say_why_and_how(read):
    said = " ".join(" ".join(read.text).split())
    assert said.count("Not run: E10 needs <weights> that are absent. To run it: fetch E10") == 1
    assert said.count("○ not run") == 4


def test_an_experiment_of_which_nothing_was_run_is_not_called_run(tmp_path):
    said = {"id": "E4", "status": "run", "figure": "4A", "why": "there are no rejected images", "command": ""}
    (tmp_path / "run.json").write_text(json.dumps({"experiments": [said]}))
    row = {"experiment": "E4", "comparison": "Pick-a-Pic", "higher": "preferred", "lower": "rejected", "n_pairs": 0,
           "metric": "cka", "verdict": "not run", "paper_t": 10.2}  # fmt: skip
    rows = [{**row, "direction": each, **dict.fromkeys("tpq"), "df": None} for each in ("a", "b")]
    pd.DataFrame(rows).to_csv(tmp_path / "statistics.csv", index=False)
    page = write_report(tmp_path, [".svg"], show_progress=False).read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert words.count("○ not run") == 2 and "no claim to compare" not in words
    assert "0 of 1" in words and "Not run: there are no rejected images" in words


def test_only_what_the_paper_has_is_called_its_outcome(run):
    page = run[1].read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "Outcome in the paper: expected of E1 " in words
    for id in ("training", "N sweep"):
        assert f"Expected outcome: expected of {id} " in words
        assert f"Outcome in the paper: expected of {id} " not in words


def test_statistics_stand_beside_the_papers(run, read):
    table = pd.read_csv(run[0] / "statistics.csv")
    row = table.query("experiment == 'E2' and lower == 'stuff only' and direction == 'vision_to_language'").iloc[0]
    said = " ".join(" ".join(read.text).split())
    assert f"{row['mean_higher']:.3f}  / {row['mean_lower']:.3f}".replace("  ", " ") in said
    assert f"{row['t']:.2f} (1)" in said and "10.1267 <.0001 .0001 same sign and significance" in said


def test_a_score_leads_to_what_produced_it(run):
    page = run[1].read_text(encoding="utf-8")
    scores = pd.read_parquet(run[0] / "scores.parquet")
    row = scores.query("experiment == 'E2' and condition == 'grayscale'").iloc[0]
    start = page.index('id="cell-E2--grayscale"')
    cell = page[start : page.index("</tr>", start)]
    assert f"{row['score']:.3f}" in cell and f"({row['null_mean']:.2f})" in cell
    assert row["vision_key"][:12] in cell and 'href="#model-vision--vit-small"' in cell
    command = shlex.split(html.unescape(re.search(r"<pre>(.*?)</pre>", cell)[1]))
    assert command[:4] == ["python", "-m", "launch.reproduce", "--workdir=again"]
    assert command[4:] == ['--config.experiments=("E2",)', "--config.sweep=()",
                           '--config.vision.core=("hub/vit-small",)',
                           '--config.language.core=("hub/teller-1b",)']  # fmt: skip
    view = re.search(r'href="#(view-[^"]+)"', cell)[1]
    shown = page[page.index(f'id="{view}"') :]
    assert "grayscale" in shown[:400] and shown[: shown.index("</details>")].count("data:image/") == 8


def test_every_figure_has_beside_it_its_numbers_and_what_made_it(run):
    drawn = sorted(path.stem for path in (run[0] / "figures").glob("*.svg"))
    assert {"E1--maps--original--linear-predictivity--vit-small", "E1--depth--original--linear-predictivity",
            "E2--image-manipulations--linear-predictivity", "E5--clip-score--linear-predictivity",
            "E7--images--linear-predictivity", "E8--captions--linear-predictivity", "E11--images--cka",
            "N-sweep--items--linear-predictivity", "training--training--linear-predictivity", "overview",
            "losses"} <= set(drawn)  # fmt: skip
    for name in drawn:
        made = json.loads((run[0] / "figures" / f"{name}.json").read_text())
        rows = pd.read_csv(run[0] / "figures" / f"{name}.csv")
        assert made["command"] == "python -m launch.report" and made["rows"] == len(rows) > 0
        assert (
            made["keys"]
            or name in ("overview", "losses")
            or name.startswith(("E6", "E7", "E8", "E9", "N-", "training"))
        )
    assert not list((run[0] / "figures").glob(".unfinished*"))


def test_names_that_differ_in_signs_alone_or_are_not_latin_have_places_and_figures_of_their_own(tmp_path):
    names = ["a+b", "a b", "A-b", "实验一", "实验二", "long " * 90]
    curve = {"series": "captions", "vision_model": "v", "metric": "cka", "direction": "symmetric", "n_items": 9}
    rows = [
        {**curve, "experiment": name, "k": k, "language_model": model, "score": place + k / 10}
        for place, name in enumerate(names) for model in ("t", "u") for k in (1, 2)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "curves.csv", index=False)
    run = {"experiments": [{"id": name, "status": "run"} for name in names]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    page = write_report(tmp_path, [".svg"], show_progress=False).read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and len({one for one in ids if one.startswith("figure-")}) == len(names)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    shown = [tmp_path / "report" / link for link in re.findall(r'href="(../figures/[^"]+csv)"', page)]
    assert [pd.read_csv(path)["experiment"].unique().tolist() for path in shown] == [[name] for name in names]
    assert len({path.name.casefold() for path in shown}) == len(names)
    assert all(len(path.name.encode()) < 240 for path in shown)


def test_drawing_again_by_two_processes_gives_the_same_bytes_but_for_the_place_of_a_moved_folder(run, monkeypatch):
    folder, page = run
    before = {path: path.read_bytes() for path in [page, *(folder / "figures").iterdir()]}
    for path in before:
        path.unlink()
    monkeypatch.setattr(write, "WORTH_A_PROCESS", 0)
    said, moved = b"python -m launch.report", "python -m launch.report --workdir=elsewhere"
    assert write_report(folder, [".svg"], show_progress=False, helped=True, command=moved) == page
    assert page.read_bytes().count(moved.encode()) == before[page].count(said) > 20
    assert {path: path.read_bytes().replace(moved.encode(), said) for path in before} == before


def test_what_is_there_from_the_same_files_is_not_drawn_again_unless_asked(tmp_path, monkeypatch):
    model = {"name": "seer", "modality": "vision", "losses": {"steps": [0, 1], "loss": [2.0, 1.0]}}
    described = {"experiments": [{"id": "E1", "status": "not run"}], "models": [model]}
    (tmp_path / "run.json").write_text(json.dumps(described))
    draw = functools.partial(write_report, tmp_path, show_progress=False)
    page = draw()
    before = page.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("vla.report.write.draw_all", None)
        assert draw(again=False) == page
        with pytest.raises(TypeError):
            draw()
    (tmp_path / "figures" / "losses.svg").unlink()
    assert draw(again=False).read_bytes() == before and (tmp_path / "figures" / "losses.svg").is_file()
    (tmp_path / "run.json").write_text(json.dumps({**described, "title": "Another"}))
    assert draw(again=False).read_bytes() != before
    (tmp_path / "figures" / "losses.png").write_text("edited")
    (tmp_path / "run.json").write_text(json.dumps({**described, "models": []}))
    draw(again=False)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["losses.png"], "what another wrote stays"


def test_files_that_are_missing_are_said(tmp_path):
    run = {"experiments": [{"id": "mine", "title": "My own", "status": "run", "conditions": [], "comparisons": []}]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    page = write_report(tmp_path, [".svg"], show_progress=False).read_text(encoding="utf-8")
    assert "The run folder lacks scores.parquet, statistics.csv, curves.csv" in page
    assert "no claim to compare" not in page, "a run without a paper is not compared with one"
    assert ">My own</a>: run." in page and "The run folder has no sample items." in page


def test_pdf_is_written_on_request(tmp_path):
    model = {"name": "seer", "modality": "vision", "losses": {"steps": [0, 1], "loss": [2.0, 1.0]}}
    described = {"experiments": [{"id": "E1", "status": "not run"}], "models": [model]}
    (tmp_path / "run.json").write_text(json.dumps(described))
    page = write_report(tmp_path, show_progress=False)
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".svg", ".png", ".csv", ".json"}
    assert "losses.pdf" not in page.read_text(encoding="utf-8")
    write_report(tmp_path, [".pdf"], show_progress=False)
    assert (tmp_path / "figures" / "losses.pdf").read_bytes()[:5] == b"%PDF-"
    assert "losses.pdf" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, "", "has no run.json: run `python -m launch.reproduce"),
        ("run.json", "{", "run.json cannot be read"),
        ("run.json", "{}", "run.json has no experiments"),
        ("scores.parquet", "no table", "scores.parquet is damaged"),
        ("curves.csv", "a,b\n1,2\n", "curves.csv has no column direction, experiment, k"),
    ],
)
def test_folders_that_cannot_be_reported_are_refused(tmp_path, name, content, words):
    if name:
        (tmp_path / "run.json").write_text(json.dumps({"experiments": [{"id": "E1", "status": "run"}]}))
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        write_report(tmp_path, show_progress=False)
    assert not (tmp_path / "report").exists()
