"""Images in parquet cells: the very bytes, few reads, clear errors."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.stimuli.datasets.published import jpeg
from vla.records import Picture
from vla.stimuli.datasets import pictures
from vla.stimuli.datasets.pictures import ParquetImage

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
        assert isinstance(picture, Picture)
        assert picture.open() == expected
        assert picture.content() == hashlib.sha256(expected).hexdigest()
        assert pickle.loads(pickle.dumps(picture)).open() == expected


def test_one_pass_for_all_that_are_wanted(shard, monkeypatch):
    reads = []
    read = pictures._read_cells
    monkeypatch.setattr(pictures, "_read_cells", lambda image: reads.append(image.row) or read(image))
    monkeypatch.setattr(pictures, "_CELLS", pictures._Cells())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: image(shard, 0, row, WANTED).open(), WANTED * 10))
    assert found == [jpeg(row) for row in WANTED] * 10
    assert len(reads) == 1


def test_what_is_kept_is_bounded(shard, monkeypatch):
    cells = pictures._Cells()
    monkeypatch.setattr(pictures, "_CELLS", cells)
    monkeypatch.setattr(pictures, "CACHE_BYTES", 2 * len(jpeg(0)) + 100)
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
