"""Reading what torch.save wrote, held against torch.load, and refusing everything that is more than tensors."""

import collections
import io
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vla.models.tensor import FLOATS
from vla.models.torch_archive import STORAGES, Refused, Strided, archive_tensors, read_pickle

BASE = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
WHOLE = (slice(None),)


def state() -> dict[str, torch.Tensor]:
    return collections.OrderedDict(
        whole=BASE,
        shared=BASE,
        part=BASE[1:4, 2:7],
        transposed=BASE.T,
        every_other=BASE[::2, ::3],
        expanded=BASE[:, :1].expand(6, 4),
        vector=BASE[2],
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        half=BASE.half(),
        brain=BASE.bfloat16(),
        double=BASE.double(),
        parameter=torch.nn.Parameter(BASE.clone()),
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_every_kind_of_view_is_read_as_torch_reads_it(zipped, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    tensors = archive_tensors(path)
    expected = torch.load(path, weights_only=True)
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        whole = expected[name].detach()
        assert tensor.shape == tuple(whole.shape)
        read = tensor.read((slice(None),) * whole.ndim)
        assert str(read.dtype) == str(whole.dtype).removeprefix("torch."), name
        assert np.array_equal(read.astype(np.float64), whole.double().numpy()), name
        assert read.flags.owndata or read.base.flags.owndata, "a view would keep the file open"
    part = tensors["transposed"].read((slice(3, 5), slice(1, None, 2)))
    assert np.array_equal(part, BASE.T[3:5, 1::2].numpy())
    assert np.array_equal(tensors["part"].read((slice(1, 2),)), BASE[2:3, 2:7].numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_buffers_of_whole_numbers_are_listed(zipped, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    kinds = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
    kinds["BOOL"] = torch.bool
    torch.save(
        {name: torch.ones(3, dtype=kind) for name, kind in kinds.items()},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert {name: tensor.dtype for name, tensor in archive_tensors(path).items()} == {name: name for name in kinds}


def test_newer_protocols_of_pickle_are_read(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save(state(), path, pickle_protocol=5)
    assert np.array_equal(archive_tensors(path)["brain"].read(WHOLE).astype(np.float32), BASE.bfloat16().float())


def test_the_other_byte_order_is_read(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": BASE, "b": BASE.bfloat16()}, path)
    turned = tmp_path / "turned.bin"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(turned, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif "/data/" in name:
                width = len(content) // BASE.numel()
                content = np.frombuffer(content, f"u{width}").byteswap().tobytes()
            other.writestr(name, content)
    tensors = archive_tensors(turned)
    assert np.array_equal(tensors["a"].read(WHOLE), BASE.numpy())
    assert np.array_equal(tensors["b"].read(WHOLE).astype(np.float32), BASE.bfloat16().float().numpy())


class Call:
    """Pickles to a call of whatever it is given."""

    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def zip_of(pickled: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


def legacy_of(pickled: bytes, path: Path) -> None:
    parts = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + pickled + pickle.dumps([], 2))


@pytest.mark.parametrize("write", [zip_of, legacy_of])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "function, argument",
    [
        (os.system, "touch {}"),
        (eval, "open({!r}, 'w')"),
        (exec, "open({!r}, 'w')"),
        (getattr, "x"),
        (__import__, "os"),
        (torch.load, "x"),
        (torch.serialization._get_layout, "x"),
    ],
)
def test_what_is_no_tensor_is_neither_run_nor_imported(write, protocol, function, argument, tmp_path):
    path, touched = tmp_path / "pytorch_model.bin", tmp_path / "touched"
    write(pickle.dumps({"weight": Call(function, argument.format(str(touched)))}, protocol), path)
    with pytest.raises(ValueError, match="holds more than tensors: it asks for .*Nothing of it was executed"):
        archive_tensors(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "program, said",
    [
        (b"cos\nsystem\n.", "it asks for os.system"),
        (b"cthis.module.would.be\nimported\n.", "it asks for this.module.would.be.imported"),
        (b"(S'echo'\nios\nsystem\n.", "it uses the operation INST"),
        (b"\x80\x02ctorch\nSize\n)\x81.", "it uses the operation NEWOBJ"),
        (b"\x80\x02}ctorch\nSize\n}b.", "it changes the state of a _Name"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "it calls torch.FloatStorage"),
        (b"\x80\x02X\x01\x00\x00\x00a)R.", "it calls str"),
        (b"\x80\x02\x82\x01.", "it uses the operation EXT1"),
        (b"\x80\x02K\x05Q.", "it refers to something that is not a storage"),
        (b"P5\n.", "it uses the operation PERSID"),
        (b"\x80\x02}K\x01K\x02s.", "it has a dictionary whose keys are not names"),
        (b"\x80\x04K\x01K\x02\x93.", "it asks for something that has no name"),
    ],
)
def test_crafted_programs_are_refused(program, said, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    zip_of(program, path)
    with pytest.raises(ValueError, match=f"holds more than tensors: {said}"):
        archive_tensors(path)
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "program", [b"", b"\x80\x02", b"R.", b".", b"t.", b"\x80\x02h\x07.", b"\x80\x02]]s.", b"\x00."]
)
def test_broken_programs_are_refused(program, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    zip_of(program, path)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is cut short or corrupt|holds more than tensors"):
        archive_tensors(path)


def test_a_crafted_memo_index_takes_no_memory(tmp_path):
    """Python's unpickler in C makes a list as long as the index."""
    path = tmp_path / "pytorch_model.bin"
    zip_of(b"\x80\x02}r\xff\xff\xff\x7f.", path)
    assert archive_tensors(path) == {}


@pytest.mark.parametrize("zipped", [True, False])
def test_any_damage_ends_in_an_error_or_in_tensors(zipped, tmp_path):
    """Bytes changed at random in everything but the numbers: no other exception, nothing read beyond the file."""
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": BASE, "b": BASE.half()[1:]}, path, _use_new_zipfile_serialization=zipped)
    content, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            for tensor in archive_tensors(path).values():
                if tensor.dtype in FLOATS and np.prod(tensor.shape) < 1e6:
                    tensor.read((slice(None),) * len(tensor.shape))
        except ValueError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0, 3, 30, 0.3, 0.6, 0.9, -1])
def test_a_file_cut_short_is_named(zipped, kept, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is cut short or corrupt .*download it again"):
        archive_tensors(path)


def rewrite(path: Path, change) -> None:
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            changed = change(name, content)
            if changed is not None:
                archive.writestr(*changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: None if name.endswith("data/0") else (name, content),
        lambda name, content: (name, content[:-4] if name.endswith("data/0") else content),
        lambda name, content: (name, content, zipfile.ZIP_DEFLATED),
        lambda name, content: (name, b"middle" if name.endswith("byteorder") else content),
        lambda name, content: None if name.endswith("data.pkl") else (name, content),
        # further than the storage reaches: 6 rows become 7
        lambda name, content: (name, content.replace(b"K\x06K\x08\x86", b"K\x07K\x08\x86")),
    ],
)
def test_an_archive_at_odds_with_itself_is_refused(change, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": BASE}, path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is cut short or corrupt"):
        archive_tensors(path)


def test_a_legacy_file_at_odds_with_itself_is_refused(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": BASE}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(struct.pack("<q", 48), struct.pack("<q", 49)))
    with pytest.raises(ValueError, match="a storage is not what the pickle says"):
        archive_tensors(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "content, message",
    [
        ([BASE], "holds a list; expected a dictionary of tensors"),
        (BASE, "holds a Strided; expected a dictionary of tensors"),
        ({"model": {"a": BASE}}, "holds a dict under 'model'"),
        ({"a": BASE, "epoch": 3}, "holds a int under 'epoch'"),
    ],
)
def test_other_content_is_named(zipped, content, message, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=message):
        archive_tensors(path)


@pytest.mark.parametrize("special", [torch.ones(2, dtype=torch.complex64), torch.eye(2).to_sparse()])
def test_special_tensors_are_refused(special, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": special}, path)
    with pytest.raises(ValueError, match="holds more than tensors: it asks for torch"):
        archive_tensors(path)


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"small": torch.ones(3), "large": torch.zeros(1 << 22)}, path)
    mapped = []
    real = np.memmap
    monkeypatch.setattr(np, "memmap", lambda *a, **k: mapped.append(k["shape"]) or real(*a, **k))
    tensors = archive_tensors(path)
    assert mapped == []
    tensors["small"].read(WHOLE)
    assert mapped == [(3,)]


def test_a_buffer_of_pickle_is_no_file_of_torchs(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    buffer = io.BytesIO()
    pickle.dump({"a": [1.0, 2.0]}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="torch.save did not write it"):
        archive_tensors(path)


def pickled(state, path) -> bytes:
    torch.save(state, path)
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("data.pkl")]
        return archive.read(name)


def test_views_are_those_of_torch(tmp_path):
    base = torch.arange(48, dtype=torch.float32).reshape(6, 8)
    state = {"base": base, "part": base[1:4, 2:7], "turned": base.T, "step": base[::2, 3], "one": torch.tensor(1.5)}
    read = read_pickle(io.BytesIO(pickled(state, tmp_path / "x")))
    assert list(read) == list(state)
    for name, tensor in state.items():
        ours = read[name]
        assert isinstance(ours, Strided)
        assert (ours.offset, ours.shape, ours.strides) == (
            tensor.storage_offset(),
            tuple(tensor.shape),
            tensor.stride(),
        )
        assert ours.storage.length == tensor.untyped_storage().nbytes() // 4
    # views of one storage stay views of one
    assert read["part"].storage == read["turned"].storage == read["base"].storage != read["one"].storage


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "bool", "uint8", "int8", "float64", "float32", "float16", "int32", "int64", "int16"]
)
def test_every_kind_has_the_width_of_torchs(dtype, tmp_path):
    tensor = torch.zeros(3, dtype=getattr(torch, dtype))
    found = read_pickle(io.BytesIO(pickled({"x": tensor}, tmp_path / "x")))["x"].storage
    assert found.width == tensor.element_size() and found.length == 3
    assert (found.dtype, found.width) in STORAGES.values()


def test_plain_values_are_themselves_and_the_stream_is_left_behind_each():
    values = [{"a": [1, -2.5, True, None, "ü", (1, 2, 3, 4)], "b": {}}, 2**70, [], ("x",)]
    for protocol in range(1, 6):
        stream = io.BytesIO(b"".join(pickle.dumps(value, protocol) for value in values))
        assert [read_pickle(stream) for _ in values] == values
        assert stream.read() == b""


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_call_is_refused_by_name_and_not_run(protocol, tmp_path):
    touched = tmp_path / "touched"
    with pytest.raises(Refused, match="it asks for (_?io|builtins|__builtin__).open"):
        read_pickle(io.BytesIO(pickle.dumps({"a": [1], "b": Trap(touched)}, protocol)))
    assert not touched.exists()
    pickle.loads(pickle.dumps(Trap(touched))).close()
    assert touched.exists(), "the trap is none"


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_pickle_cut_short_is_broken(kept, tmp_path):
    whole = pickled({"x": torch.zeros(4)}, tmp_path / "x")
    with pytest.raises(ValueError, match="not a pickle that can be read"):
        read_pickle(io.BytesIO(whole[: int(kept * len(whole))]))


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    whole = pickled({"x": torch.zeros(4, 3)}, tmp_path / "x")
    # the shape (4, 3) as two small whole numbers
    longer = whole.replace(b"K\x04K\x03", b"K\x05K\x03")
    assert longer != whole
    with pytest.raises(ValueError, match="a tensor reaches to element 14 of a storage of 12"):
        read_pickle(io.BytesIO(longer))
