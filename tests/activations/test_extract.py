"""Extraction gives what Hugging Face's torch models give for each stimulus alone, in the order of the stimuli."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from tests.activations import tiny
from tests.checkpoints import WORDS, write_image_processor, write_language, write_vision
from tests.children import run
from vla.activations.extract import extract, resolve_layers
from vla.models import load_model

SAME = 1e-6


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    return tiny.language(tmp_path_factory.mktemp("language") / "tiny-llama")


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return tiny.vision(tmp_path_factory.mktemp("vision") / "tiny-dinov2")


@pytest.fixture(scope="module")
def listened(language):
    return extract(language[0], tiny.captions(20))


@pytest.fixture(scope="module")
def looked(vision):
    return extract(vision[0], tiny.pictures(9))


@pytest.mark.parametrize("pool", ["mean", "mean_no_bos", "last"])
def test_captions_are_what_torch_makes_of_each_alone(language, pool):
    model, twin = language
    theirs = np.stack([tiny.heard(twin, caption, pool) for caption in tiny.captions(12)], axis=1)
    ours = extract(model, tiny.captions(12), pool=pool, batch_size=5)
    assert ours.dims == ("layer", "item", "unit") and ours.dtype == np.float32 and ours.name == "tiny-llama"
    assert tuple(ours.layer.values) == tiny.LAYERS and ours["item"].values.tolist() == list(range(12))
    assert tiny.apart(ours.values, theirs) < 1e-5


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_images_are_what_torch_makes_of_each_alone(vision, pool):
    model, twin = vision
    theirs = np.stack([tiny.seen(twin, picture, pool) for picture in tiny.pictures(5)], axis=1)
    ours = extract(model, tiny.pictures(5), pool=pool, batch_size=3)
    assert tuple(ours.layer.values) == tiny.LAYERS
    assert tiny.apart(ours.values, theirs) < 1e-5


def test_the_defaults_are_mean_and_cls(language, vision):
    caption, picture = tiny.captions(1)[0], tiny.pictures(1)[0]
    assert tiny.apart(extract(language[0], [caption]).values[:, 0], tiny.heard(language[1], caption)) < 1e-5
    assert tiny.apart(extract(vision[0], [picture]).values[:, 0], tiny.seen(vision[1], picture)) < 1e-5


@pytest.mark.parametrize("batch_size", [1, 3, np.int64(32)])
def test_the_batch_size_does_not_matter(language, vision, listened, looked, batch_size):
    ours = extract(language[0], tiny.captions(20), batch_size=batch_size)
    assert tiny.apart(ours.values, listened.values) < SAME
    assert tiny.apart(extract(vision[0], tiny.pictures(9), batch_size=batch_size).values, looked.values) < SAME


def test_order_and_neighbours_do_not_matter(language, vision, listened, looked):
    turned = [17, 3, 4, 0, 11]
    ours = extract(language[0], [tiny.captions(20)[i] for i in turned], items=turned)
    assert ours["item"].values.tolist() == turned
    assert tiny.apart(ours.values, listened.values[:, turned]) < SAME
    turned = [8, 1, 5]
    ours = extract(vision[0], [tiny.pictures(9)[i] for i in turned])
    assert tiny.apart(ours.values, looked.values[:, turned]) < SAME


def test_images_of_several_shapes_keep_their_order(tmp_path):
    twin = write_vision(tmp_path / "net")
    write_image_processor(tmp_path / "net", 28, do_center_crop=False)
    shapes = [(40, 60), (40, 40), (60, 40), (40, 60), (40, 80), (40, 40), (40, 60)]
    images = [tiny.pictures(i + 1, shape)[-1] for i, shape in enumerate(shapes)]
    theirs = np.stack([tiny.seen(twin, image) for image in images], axis=1)
    model = load_model(tmp_path / "net")
    assert tiny.apart(extract(model, images, batch_size=2).values, theirs) < 1e-5


def test_paths_pictures_and_arrays_are_alike(vision, looked, tmp_path):
    arrays = tiny.pictures(9)
    paths = []
    for i, array in enumerate(arrays):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(array).save(paths[-1])
    mixed = [str(path) if i % 2 else path for i, path in enumerate(paths)]
    for stimuli in (mixed, [Image.fromarray(array) for array in arrays], np.stack(arrays), iter(paths)):
        np.testing.assert_array_equal(extract(vision[0], stimuli).values, looked.values)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("block_2", ["block_2"]),
        ("penultimate", ["block_2"]),
        (["final_norm", "embed"], ["embed", "final_norm"]),
        (("block_3", "penultimate", "block_2"), ["block_2", "block_3"]),
        ("all", list(tiny.LAYERS)),
    ],
)
def test_some_layers_are_the_same_layers(language, listened, asked, given):
    ours = extract(language[0], tiny.captions(20), layers=asked)
    assert ours.layer.values.tolist() == given
    assert tiny.apart(ours.values, listened.sel(layer=given).values) < SAME


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("block_9", "tiny-llama has no layer 'block_9'; expected 'all', 'penultimate' or some of embed, block_1"),
        (["embed", "block_0", "x"], "no layer 'block_0', 'x'; expected"),
        ([], "no layer in an empty list"),
        ([3, "embed"], "no layer '3'"),
        (3, "no layer '3'"),
    ],
)
def test_unknown_layers_are_refused(language, layers, words):
    with pytest.raises(ValueError, match=words):
        extract(language[0], ["a dog"], layers=layers)


def test_one_block_has_no_penultimate(tmp_path):
    write_language(tmp_path / "net", num_hidden_layers=1)
    with pytest.raises(
        ValueError, match="no layer 'penultimate'; expected 'all' or some of embed, block_1, final_norm"
    ):
        resolve_layers(load_model(tmp_path / "net", weights=False), "penultimate")


def test_item_names_are_kept(language):
    ours = extract(language[0], np.array(["a dog", "the boat"]), items=("dog.jpg", "boat.jpg"))
    assert ours["item"].values.tolist() == ["dog.jpg", "boat.jpg"]
    alone = extract(language[0], ["the boat"]).values[:, 0]
    assert tiny.apart(ours.sel(item="boat.jpg").values, alone) < SAME


LONG = " ".join(["dog"] * tiny.LENGTH)


@pytest.mark.parametrize(
    ("stimuli", "options", "words"),
    [
        ([], {}, "There are no stimuli"),
        ("a dog", {}, "stimuli is one str; expected a list"),
        (None, {}, "stimuli is one NoneType; expected a list"),
        ({"x": "a dog"}, {}, "stimuli is a dict; expected a list"),
        ({"a dog"}, {}, "stimuli is a set; expected a list"),
        (["a dog", "", "boat", " \n"], {"items": list("abcd")}, "2 captions are empty, of items b, d: give each item"),
        (["a dog", 7], {"items": ["x", "y"]}, "item 'y' is a int, but tiny-llama is a language model: give captions"),
        (["a dog", None], {}, "item '1' is a NoneType"),
        ([np.zeros((4, 4, 3), np.uint8)], {}, "item '0' is a ndarray, but tiny-llama is a language model"),
        (["a dog", LONG], {"items": ["x", "y"]}, "item 'y': .*has 41 tokens, but the model reads 40 at most; shorten"),
        (["a dog"], {"pool": "cls"}, r"pool='cls' is not known to language models; expected one of \['last', 'mean'"),
        (["a dog"], {"batch_size": 0}, "batch_size=0; expected a whole number of at least 1"),
        (["a dog"], {"batch_size": -2}, "batch_size=-2"),
        (["a dog"], {"batch_size": 2.5}, "batch_size=2.5; expected a whole number"),
        (["a dog", "a cat"], {"items": ["x", "x"]}, "item 'x' occurs more than once"),
        (["a dog", "a cat"], {"items": ["x"]}, "1 item names for 2 stimuli"),
    ],
)
def test_bad_captions_are_refused(language, stimuli, options, words):
    with pytest.raises(ValueError, match=words):
        extract(language[0], stimuli, **options)


def test_bad_images_are_refused(vision, tmp_path):
    model = vision[0]
    good, broken = tmp_path / "good.jpg", tmp_path / "broken.jpg"
    Image.fromarray(tiny.pictures(1)[0]).save(good)
    broken.write_bytes(good.read_bytes()[:300])
    for stimuli, words in (
        ([good, broken], r"image of item 'b' \(.*broken\.jpg\) cannot be read: .*truncated"),
        ([good, tmp_path / "gone.jpg"], r"image of item 'b' \(.*gone\.jpg\) cannot be opened"),
        ([good, 3], "image of item 'b' is a int; expected a path"),
        (["dog", "cat"], "None of the 2 strings names a file, for example 'dog': tiny-dinov2 is a vision model"),
        (
            ["a dog", "two cats"],
            "2 of the 2 stimuli are captions, such as 'a dog' of item 'a', but tiny-dinov2 is a vision model: use",
        ),
        ([str(good), "two cats"], "1 of the 2 stimuli are captions, such as 'two cats' of item 'b', but tiny-dinov2"),
        (
            [str(good), "https://a.org/two cats.jpg"],
            r"image of item 'b' \(https://.*\) is a URL, and URLs are not fetch",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            extract(model, stimuli, items=["a", "b"])
    for single in (good, str(good), Image.open(good), tiny.pictures(1)[0], b"bytes"):
        with pytest.raises(ValueError, match=r"stimuli is one \w+; expected a list of captions or of images"):
            extract(model, single)
    with pytest.raises(
        ValueError, match=r"pool='last' is not known to vision models; expected one of \['cls', 'mean'\]"
    ):
        extract(model, [good], pool="last")


def test_image_paths_are_refused_by_a_language_model(language, tmp_path):
    blanks = tmp_path / "two dogs.PNG"
    Image.fromarray(tiny.pictures(1)[0]).save(blanks)
    for path in ("images/dog.jpg", "https://a.org/b.jpeg", str(blanks), " a.webp "):
        with pytest.raises(
            ValueError, match=r"1 of the 2 captions name an image file, of items y, such as .*but tiny-"
        ):
            extract(language[0], ["dog", path], items=["x", "y"])
    # No file, but the end of a sentence.
    assert extract(language[0], ["the dog dog.jpg"]).sizes["item"] == 1


def test_bfloat16_gives_float32_readouts_close_to_float32(tmp_path):
    write_language(tmp_path / "net")
    exact = extract(load_model(tmp_path / "net"), tiny.captions(4))
    rough = extract(load_model(tmp_path / "net", dtype="bfloat16"), tiny.captions(4))
    assert rough.dtype == np.float32
    assert 1e-4 < tiny.apart(rough.values, exact.values) < 0.05


def break_weights(directory, ending, index):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    (name,) = [name for name in tensors if name.endswith(ending)]
    tensors[name][index] = np.nan
    save_file(tensors, path, metadata={"format": "pt"})


def test_broken_weights_are_named_by_model_layer_and_items(tmp_path):
    write_vision(tmp_path / "net")
    break_weights(tmp_path / "net", "layer.1.mlp.fc1.weight", (0, 0))
    with pytest.raises(
        ValueError, match=r"net gives nan at layer block_2 for 3 of the 3 items .*: a, b, c\. The weights"
    ):
        extract(load_model(tmp_path / "net"), tiny.pictures(3), items=["a", "b", "c"], batch_size=3)


def test_only_the_items_that_meet_the_break_are_named(tmp_path):
    write_language(tmp_path / "net")
    break_weights(tmp_path / "net", "embed_tokens.weight", 3 + WORDS.index("boat"))
    stimuli = ["a dog", "the red boat", "two cat", "boat"]
    words = r"net gives nan at layer embed for 2 of the 4 items of a batch: b, d\. Load the model with dtype='float32'"
    with pytest.raises(ValueError, match=words):
        extract(load_model(tmp_path / "net", dtype="bfloat16"), stimuli, items=list("abcd"))


DEVICES = """
import sys
import jax
count = int(sys.argv[1])
jax.config.update("jax_num_cpu_devices", count)
import numpy as np
from vla.activations.extract import extract
from vla.models import load_model
language, vision, inputs, out = sys.argv[2:]
data = np.load(inputs)
assert jax.device_count() == count
np.savez(out, language=extract(load_model(language), data["captions"].tolist(), batch_size=12),
         vision=extract(load_model(vision), list(data["pictures"])),
         parallel=extract(load_model(language, tensor_parallel=2), data["captions"].tolist()),
         streamed=extract(load_model(language, stream=True, tensor_parallel=count // 2), data["captions"].tolist()))
"""


@pytest.mark.parametrize("count", [2, 8])
def test_several_devices_equal_one(count, language, vision, listened, looked, tmp_path):
    np.savez(tmp_path / "in.npz", captions=tiny.captions(20), pictures=tiny.pictures(9))
    run(DEVICES, count, language[0].source, vision[0].source, tmp_path / "in.npz", tmp_path / "out.npz")
    out = np.load(tmp_path / "out.npz")
    assert tiny.apart(out["language"], listened.values) < SAME
    assert tiny.apart(out["vision"], looked.values) < SAME
    assert tiny.apart(out["parallel"], listened.values) < SAME
    assert tiny.apart(out["streamed"], listened.values) < SAME
