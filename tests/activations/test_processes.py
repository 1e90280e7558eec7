"""Two processes that share an extraction: each writes its own items, and the numbers are those of one."""

import contextlib
import socket

import numpy as np

from tests.activations import tiny
from tests.activations.test_extract_to_store import view
from tests.children import Child
from vla.activations.extract import extract_to_store, recipe
from vla.activations.store import Store

PROGRAM = """
import sys
from vla import devices
address, number, model, store = sys.argv[1:]
devices.join(address, 2, int(number))
assert devices.this_process() == (int(number), 2)
from tests.activations.test_extract_to_store import view
from vla.activations import store as stores
from vla.activations.extract import extract_to_store
from vla.activations.store import Store
from vla.models import load_model
stores.CHUNK_ITEMS = 4
write = stores.Writer.write
def told(self, chunk, values, first):
    if first == 0:
        print(chunk[0], flush=True)
    write(self, chunk, values, first)
stores.Writer.write = told
place = Store(store)
wanted = extract_to_store(load_model(model), view(), place)
assert place.read(wanted).shape == (5, 22, 24)
"""


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_two_processes_write_their_own_items_and_equal_one(tmp_path):
    model, _ = tiny.language(tmp_path / "tiny-llama")
    address, shared = free_address(), tmp_path / "shared"
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Child(PROGRAM, address, i, model.source, shared)) for i in range(2)]
        said = [child.said() for child in started]
    # six chunks, in groups of three
    wrote = [[line for line in out.splitlines() if line.isdigit()] for out in said]
    assert wrote == [["0", "4", "8"], ["12", "16", "20"]]
    wanted = recipe(model, view())
    assert [path.name for path in shared.iterdir()] == [f"{wanted.name}.zarr"]
    extract_to_store(model, view(), Store(tmp_path / "alone"))
    alone, together = (Store(tmp_path / name).read(wanted) for name in ("alone", "shared"))
    assert together["item"].values.tolist() == alone["item"].values.tolist()
    assert tiny.apart(together.values, alone.values) < 1e-6
    assert np.isfinite(together.values).all()
