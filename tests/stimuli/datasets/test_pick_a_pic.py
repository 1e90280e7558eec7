"""Pick-a-Pic's shards: preferences, ties, samples, and the ways in which a shard can be damaged."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.stimuli.datasets.published import jpeg, judgment, write_pick_a_pic
from vla.records import Dataset, LazyImage
from vla.stimuli import decode_image, sample
from vla.stimuli.datasets import pick_a_pic
from vla.stimuli.datasets.pick_a_pic import ParquetImage, read_pick_a_pic

SHARD = "validation_unique-00000-of-00002-33ead111845fc9c4.parquet"


def id(number: int) -> str:
    return f"{1000 + number}-{number:08x}-{number:08x}"


@pytest.fixture
def shards(tmp_path):
    """Two shards: 0 and 2 prefer the first image, 1 and 3 the second, 4 is a tie, 5 was not judged."""
    rows = [judgment(0), judgment(1, 0.0, 1.0), judgment(2, caption="  prompt\t0 \n"), judgment(3, 0.0, 1.0)]
    rows += [judgment(4, 0.5, 0.5), judgment(5, None, None, has_label=False)]
    write_pick_a_pic(tmp_path / "data" / SHARD, rows[:3], rows_per_group=2)
    write_pick_a_pic(tmp_path / "data" / SHARD.replace("00000-of", "00001-of"), rows[3:], rows_per_group=2)
    return tmp_path


def opened(dataset: Dataset) -> list[tuple[str, bytes, bytes]]:
    return [(item.id, item.image.open(), item.rejected.open()) for item in dataset.items]


def test_preferred_and_rejected(shards):
    dataset = read_pick_a_pic(shards)
    assert dataset.name == "pick_a_pic"
    pairs = {0: (0, 1), 1: (3, 2), 2: (4, 5), 3: (7, 6)}
    assert opened(dataset) == [(id(n), jpeg(best), jpeg(other)) for n, (best, other) in pairs.items()]
    assert [item.captions for item in dataset.items] == [("prompt 0",), ("prompt 1",), ("prompt\t0",), ("prompt 3",)]
    # Judgments of one prompt are one group, whatever its white space.
    assert [item.group for item in dataset.items] == ["prompt 0", "prompt 1", "prompt 0", "prompt 3"]
    assert dataset.dropped == (id(4), id(5))
    assert opened(pickle.loads(pickle.dumps(dataset))) == opened(dataset)


def test_files_by_name(shards):
    first = shards / "data" / SHARD
    assert read_pick_a_pic(first).ids == (id(0), id(1), id(2))
    both = sorted(first.parent.iterdir())
    assert read_pick_a_pic(both) == read_pick_a_pic(str(shards)) == read_pick_a_pic([str(p) for p in both[::-1]])


def test_ties(shards):
    with pytest.raises(ValueError, match=rf"1 of the 6 rows are ties: .*00001-of.*row 1 \({id(4)}\).*ties=\"drop\""):
        read_pick_a_pic(shards, ties="refuse")
    alone = read_pick_a_pic(shards, ties="only")
    assert opened(alone) == [(id(4), jpeg(8), jpeg(9))]
    assert alone.dropped == (id(5),)
    with pytest.raises(ValueError, match="ties='coin'; expected one of drop, only, refuse"):
        read_pick_a_pic(shards, ties="coin")


def test_unlabelled(shards, tmp_path):
    with pytest.raises(ValueError, match=r"1 of the 6 rows have no label: .* row 2 \(1005.*unlabelled=\"drop\""):
        read_pick_a_pic(shards, unlabelled="refuse")
    # An edition without the column has no labels in such rows.
    table = pq.read_table(shards / "data").drop_columns(["has_label"])
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    bare = read_pick_a_pic(tmp_path / "train-00000-of-00001.parquet")
    assert (bare.ids, bare.dropped) == (tuple(map(id, range(4))), (id(4), id(5)))


def test_empty_prompts(tmp_path):
    path = write_pick_a_pic(tmp_path / SHARD, [judgment(0), judgment(1, caption=" \n"), judgment(2, caption=None)])
    with pytest.raises(ValueError, match=rf"2 of the 3 rows have an empty prompt: .* row 1 \({id(1)}\), .* row 2"):
        read_pick_a_pic(path)
    dataset = read_pick_a_pic(path, empty_prompts="drop")
    assert (dataset.ids, dataset.dropped) == ((id(0),), (id(1), id(2)))


def test_prompts_of_every_script(tmp_path):
    prompts = ["🐕🦮", "一只猫", "кот, 4k", "a, b; c|d"]
    path = write_pick_a_pic(tmp_path / SHARD, [judgment(n, caption=text) for n, text in enumerate(prompts)])
    assert [item.captions for item in read_pick_a_pic(path).items] == [(text,) for text in prompts]


def test_several_pairs_of_one_ranking(tmp_path):
    pairs = [("aaaaaaaa-1", "bbbbbbbb-1"), ("aaaaaaaa-1", "cccccccc-1")]
    rows = [judgment(n, ranking_id=9, image_0_uid=a, image_1_uid=b) for n, (a, b) in enumerate(pairs)]
    path = write_pick_a_pic(tmp_path / SHARD, rows)
    assert read_pick_a_pic(path).ids == ("9-aaaaaaaa-bbbbbbbb", "9-aaaaaaaa-cccccccc")


def test_a_sample_reads_only_its_own_images(tmp_path, monkeypatch):
    for shard in range(4):
        rows = [judgment(10 * shard + n, *((1.0, 0.0) if n % 2 else (0.0, 1.0))) for n in range(10)]
        write_pick_a_pic(tmp_path / f"train-0000{shard}-of-00645-0123456789abcdef.parquet", rows, rows_per_group=5)
    reads = []
    read = pick_a_pic._read_cells
    monkeypatch.setattr(pick_a_pic, "_read_cells", lambda image: reads.append(image) or read(image))
    monkeypatch.setattr(pick_a_pic, "_CELLS", pick_a_pic._Cells())
    whole = read_pick_a_pic(tmp_path)
    drawn = read_pick_a_pic(tmp_path, n=6, seed=7)
    assert reads == []
    assert drawn.ids == sample(whole, 6, 7).ids
    assert read_pick_a_pic(tmp_path, n=3, seed=7).ids == drawn.ids[:3]
    found = opened(drawn)
    cells = {(p.path, p.column, p.row_group, p.row) for item in drawn.items for p in (item.image, item.rejected)}
    assert {(p.path, p.column, p.row_group, row) for p in reads for row in p.needed} == cells
    # One pass over each column of each row group that has some.
    assert len(reads) == len({cell[:3] for cell in cells})
    assert found == opened(sample(whole, 6, 7))
    with pytest.raises(ValueError, match="sample of 41 items was asked for, but pick_a_pic has 40"):
        read_pick_a_pic(tmp_path, n=41)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (judgment(1, 0.7, 0.3), r"neither 0, 0.5 nor 1: .* row 1 \(1001-.*\): 0.7, 0.3. Expected label_0 and label_1"),
        (judgment(1, 2.0, -1.0), "neither 0, 0.5 nor 1"),
        (judgment(1, float("nan"), 0.0), "neither 0, 0.5 nor 1: .* nan, 0.0"),
        (judgment(1, None, None), "neither 0, 0.5 nor 1: .* None, None"),
        (judgment(1, 1.0, 1.0), r"contradict each other: .* row 1 \(1001-.*\): 1.0, 1.0"),
        (judgment(1, 0.0, 0.0), "contradict each other"),
        (judgment(1, 0.5, 1.0), "contradict each other"),
        (judgment(0), r"1 judgments come more than once: .* row 0 \(1000.* and .* row 1 \(1000.*Give each shard once"),
    ],
)
def test_damaged_rows(tmp_path, row, message):
    path = write_pick_a_pic(tmp_path / SHARD, [judgment(0), row])
    with pytest.raises(ValueError, match=message):
        read_pick_a_pic(path)


def test_labels_of_rows_that_nobody_judged_do_not_matter(tmp_path):
    path = write_pick_a_pic(tmp_path / SHARD, [judgment(0), judgment(1, 1.0, 1.0, has_label=False)])
    assert read_pick_a_pic(path).dropped == (id(1),)


def test_a_column_of_ties_must_agree(tmp_path):
    rows = [judgment(0, ties=False), judgment(1, 0.5, 0.5, ties=True)]
    assert read_pick_a_pic(write_pick_a_pic(tmp_path / SHARD, rows)).ids == (id(0),)
    rows[0]["ties"] = True
    with pytest.raises(ValueError, match=r"contradict ties=True: .* row 0 \(1000-.*\): 1.0, 0.0"):
        read_pick_a_pic(write_pick_a_pic(tmp_path / SHARD, rows))


def test_columns(shards, tmp_path):
    table = pq.read_table(shards / "data" / SHARD)
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(table.drop_columns(["jpg_0", "jpg_1"]), path)
    with pytest.raises(
        ValueError, match=r"has no column jpg_0, jpg_1; .*are_different, best.*no_images lack the images"
    ):
        read_pick_a_pic(path)
    pq.write_table(table.drop_columns(["label_1"]), path)
    with pytest.raises(ValueError, match="has no column label_1; expected"):
        read_pick_a_pic(path)
    text = pa.array(["1", "0", "1"])
    pq.write_table(table.set_column(table.schema.get_field_index("label_0"), "label_0", text), path)
    with pytest.raises(ValueError, match=r"another type than published: label_0 \(string\)"):
        read_pick_a_pic(path)


def test_truncated_shard(shards):
    path = shards / "data" / SHARD
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{SHARD} is truncated or no parquet file: .*Fetch it again"):
        read_pick_a_pic(shards)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{SHARD} is truncated or no parquet file"):
        read_pick_a_pic(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=rf"{SHARD} is a Git LFS pointer, not the parquet file: run `git lfs pull`"):
        read_pick_a_pic(path)


def test_corrupt_image_is_named_on_decoding(tmp_path):
    rows = [judgment(0, jpg_0=jpeg(0)[:60]), judgment(1, jpg_1=None)]
    dataset = read_pick_a_pic(write_pick_a_pic(tmp_path / SHARD, rows))
    assert decode_image(dataset.items[0].rejected.open()).size == (8, 6)
    with pytest.raises(ValueError, match=f"image of item '{id(0)}' .*cannot be read"):
        decode_image(dataset.items[0].image.open(), dataset.items[0].id)
    with pytest.raises(ValueError, match=rf"image of item '{id(1)}' \(.*{SHARD}, column jpg_1, row group 0\) is empty"):
        dataset.items[1].rejected.open()


def test_splits_are_not_mixed(shards):
    write_pick_a_pic(shards / "data" / "validation-00000-of-00014-387db523fa7e7121.parquet", [judgment(0)])
    write_pick_a_pic(shards / "default" / "train" / "0000.parquet", [judgment(9)])
    with pytest.raises(ValueError, match="has the splits train, validation, validation_unique; name one with split="):
        read_pick_a_pic(shards)
    assert read_pick_a_pic(shards, split="validation").ids == (id(0),)
    assert read_pick_a_pic(shards, split="train").ids == (id(9),)
    assert len(read_pick_a_pic(shards, split="validation_unique")) == 4
    with pytest.raises(ValueError, match=r"no parquet file of the split 'test' \(there is train, validation, valid"):
        read_pick_a_pic(shards, split="test")


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match="has no parquet file; fetch a shard"):
        read_pick_a_pic(tmp_path)
    with pytest.raises(ValueError, match="gone.parquet cannot be found"):
        read_pick_a_pic(tmp_path / "gone.parquet")
    path = write_pick_a_pic(tmp_path / SHARD, [judgment(0, 0.5, 0.5), judgment(1, has_label=False)])
    with pytest.raises(ValueError, match="no judgment is left of the 2 rows .* 1 have no label, 1 are ties, 0 have an"):
        read_pick_a_pic(path)


@pytest.mark.parametrize("setting", ["unlabelled", "empty_prompts"])
def test_unknown_policy(shards, setting):
    with pytest.raises(ValueError, match=f"{setting}='ignore'; expected one of drop, refuse"):
        read_pick_a_pic(shards, **{setting: "ignore"})


WANTED = (0, 17, 39)


@pytest.fixture
def shard(tmp_path):
    cells = [jpeg(seed) for seed in range(100)]
    cells[60], cells[61] = None, b""
    pq.write_table(pa.table({"jpg_0": pa.array(cells, pa.binary())}), tmp_path / "x.parquet", row_group_size=40)
    return tmp_path / "x.parquet"


def image(shard, row_group: int, row: int, wanted=None) -> ParquetImage:
    return ParquetImage("seven", shard, "jpg_0", row_group, row, wanted or (row,))


@pytest.mark.parametrize("row_group", [0, 1])
def test_the_bytes_of_the_cell(shard, row_group):
    for row in (39, 0, 17):
        picture = image(shard, row_group, row, WANTED)
        expected = jpeg(40 * row_group + row)
        assert isinstance(picture, LazyImage)
        assert picture.open() == expected
        assert picture.content() == hashlib.sha256(expected).hexdigest()
        assert pickle.loads(pickle.dumps(picture)).open() == expected


def test_one_pass_for_all_that_are_wanted(shard, monkeypatch):
    reads = []
    read = pick_a_pic._read_cells
    monkeypatch.setattr(pick_a_pic, "_read_cells", lambda image: reads.append(image.row) or read(image))
    monkeypatch.setattr(pick_a_pic, "_CELLS", pick_a_pic._Cells())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: image(shard, 0, row, WANTED).open(), WANTED * 10))
    assert found == [jpeg(row) for row in WANTED] * 10
    assert len(reads) == 1


def test_what_is_kept_is_bounded(shard, monkeypatch):
    cells = pick_a_pic._Cells()
    monkeypatch.setattr(pick_a_pic, "_CELLS", cells)
    monkeypatch.setattr(pick_a_pic, "CACHE_BYTES", 2 * len(jpeg(0)) + 100)
    for row in range(5):
        assert image(shard, 0, row).open() == jpeg(row)
        assert len(cells._columns) <= 2
    assert image(shard, 0, 0).open() == jpeg(0)


def test_a_file_that_changed_is_read_again(shard):
    assert image(shard, 0, 1).open() == jpeg(1)
    pq.write_table(pa.table({"jpg_0": pa.array([b"x", b"other"], pa.binary())}), shard)
    assert image(shard, 0, 1).open() == b"other"


def test_damage(shard, tmp_path):
    for row in (20, 21):
        with pytest.raises(
            ValueError, match=r"image of item 'seven' \(.*x.parquet, column jpg_0, row group 1\) is empty"
        ):
            image(shard, 1, row).open()
    for lost in (image(shard, 0, 40), image(shard, 3, 0), ParquetImage("seven", shard, "jpg_1", 0, 0, (0,))):
        with pytest.raises(ValueError, match="image of item 'seven' .* cannot be read: .*. Fetch the file again"):
            lost.open()
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="image of item 'seven' .* cannot be read"):
        image(shard, 0, 2).open()
    with pytest.raises(ValueError, match="image of item 'seven' .*gone.parquet.* cannot be read: .*No such file"):
        image(tmp_path / "gone.parquet", 0, 0).open()
