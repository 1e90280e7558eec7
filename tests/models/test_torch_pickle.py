"""What a pickle says of tensors against what torch says, and that nothing in it is ever run."""

import io
import pickle
import zipfile

import pytest
import torch

from vla.models.torch_pickle import KINDS, Refused, Strided, read_pickle


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
    assert (found.dtype, found.width) in KINDS.values()


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
    with pytest.raises(ValueError, match="no pickle that can be read"):
        read_pickle(io.BytesIO(whole[: int(kept * len(whole))]))


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    whole = pickled({"x": torch.zeros(4, 3)}, tmp_path / "x")
    # the shape (4, 3) as two small whole numbers
    longer = whole.replace(b"K\x04K\x03", b"K\x05K\x03")
    assert longer != whole
    with pytest.raises(ValueError, match="a tensor reaches to element 14 of a storage of 12"):
        read_pickle(io.BytesIO(longer))
