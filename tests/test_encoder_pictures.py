"""ViT through `Encoder`: arrays of pixels and images, as transformers reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from huggingface_alone import close, make_vit, write_json
from pytransformer import CheckpointError, Encoder, OptionError, UnsupportedModelError
from pytransformer.pictures import resized

SHAPES: dict[str, dict[str, Any]] = {
    "patches-that-leave-a-rest": {},
    "squares": {"image_size": 24, "patch_size": 8},
    "one-patch": {"image_size": 9, "patch_size": 9},
    "one-channel": {"num_channels": 1},
    "five-channels": {"num_channels": 5},
    "no-biases": {"qkv_bias": False},
    "no-layers": {"num_hidden_layers": 0},
    "one-wide-head": {"hidden_size": 20, "num_attention_heads": 1, "intermediate_size": 300},
    "small-pooler": {"pooler_output_size": 7},
    "wide-pooler": {"pooler_output_size": 333, "pooler_act": "relu"},
}
Pixels = npt.NDArray[np.float32]


def pixels(model: PreTrainedModel, count: int) -> Pixels:
    size = model.config.image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    shape = (count, model.config.num_channels, height, width)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@torch.inference_mode()
def assert_close(model: PreTrainedModel, encoder: Encoder, pictures: Pixels) -> None:
    output = encoder.encode(pictures)
    inputs = torch.tensor(pictures)
    base = getattr(model, "vit", model)(inputs)
    assert close(np.stack(output.last_hidden_state), base.last_hidden_state)
    assert (output.pooler_output is None) == (base.pooler_output is None)
    if base.pooler_output is not None:
        assert close(output.pooler_output, base.pooler_output)
    logits = getattr(model(inputs), "logits", None)
    assert (output.logits is None) == (logits is None)
    if logits is not None:
        assert close(output.logits, logits)


@pytest.mark.parametrize("kind", ["model", "classifier"])
@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes(shape: str, kind: str, tmp_path: Path) -> None:
    model = make_vit(tmp_path, kind, **SHAPES[shape])
    assert_close(model, Encoder(tmp_path), pixels(model, 5))


class Pair:
    """A classifier of images of 30 x 44, prepared by a processor with odd numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = make_vit(path)
        self.processor = ViTImageProcessorPil(
            size={"height": 30, "width": 44},
            image_mean=[0.1, 0.2, 0.3],
            image_std=[0.4, 0.5, 0.6],
            rescale_factor=1 / 200,
        )
        self.processor.save_pretrained(path)
        self.encoder = Encoder(path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("vit"))


def image(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


SIZES = [(30, 44), (60, 88), (31, 44), (30, 45), (7, 5), (1, 1), (301, 17), (17, 301), (123, 456)]


@pytest.mark.parametrize("size", SIZES)
def test_images(pair: Pair, size: tuple[int, int]) -> None:
    """As the processor of transformers prepares them."""
    given = image(*size)
    expected = pair.processor(Image.fromarray(given), return_tensors="np").pixel_values[0]
    found = pair.encoder.pictures.pixel_values(given)
    assert found.shape == (3, 30, 44)
    # Where both axes change, Pillow may take them in another order, which may change a byte by 1.
    byte = 1.01 / 200 / 0.4 if size[0] != 30 and size[1] != 44 else 1e-5
    np.testing.assert_allclose(found, expected, atol=byte)
    ours = pair.encoder.encode(given)
    again = pair.encoder.encode(np.asarray(found)[None])
    assert np.array_equal(ours.logits, again.logits)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("new", [(30, 44), (1, 1), (64, 3), (500, 20)])
def test_images_are_resized_as_by_pillow(size: tuple[int, int], new: tuple[int, int]) -> None:
    given = image(*size, seed=1)
    across = Image.fromarray(given).resize((new[1], size[0]), Image.Resampling.BILINEAR)
    expected = across.resize(new[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(resized(given, *new), np.asarray(expected))


def test_several_images(pair: Pair) -> None:
    given = [image(*size) for size in SIZES]
    both = [*given[:3], pixels(pair.model, 1)[0], *given[3:]]
    output = pair.encoder.encode(both)
    assert output.logits is not None
    for i, one in enumerate(both):
        assert np.array_equal(pair.encoder.encode([one]).logits, output.logits[i : i + 1])
    assert len(output.last_hidden_state[0]) == pair.encoder.max_length == 1 + 4 * 11


def test_classes(pair: Pair) -> None:
    given = image(50, 50)
    inputs = torch.tensor(pair.encoder.pictures.pixel_values(given))[None]
    with torch.inference_mode():
        expected = pair.model(inputs).logits[0].softmax(-1)
    best, *others = pair.encoder.classify(given)
    assert best.name == f"LABEL_{int(expected.argmax())}"
    assert best.probability == pytest.approx(float(expected.max()), abs=1e-5)
    assert len(others) == 18
    assert pair.encoder.classify([given, given]) == [[best, *others]] * 2


def test_int8_is_close(pair: Pair) -> None:
    given = pixels(pair.model, 3)
    exact = pair.encoder.encode(given)
    output = Encoder(pair.path, compute_type="int8").encode(given)
    assert close(output.logits, torch.tensor(exact.logits), 0.25)


def test_without_a_description_of_the_preparation(tmp_path: Path) -> None:
    make_vit(tmp_path)
    given = image(30, 44)
    found = Encoder(tmp_path).pictures.pixel_values(given)
    np.testing.assert_allclose(found, given.transpose(2, 0, 1) / 127.5 - 1, atol=1e-5)


STEPS: dict[str, dict[str, Any]] = {
    "no-rescaling": {"do_rescale": False},
    "no-normalisation": {"do_normalize": False},
    "neither": {"do_rescale": False, "do_normalize": False},
    "one-number-for-all": {"image_mean": [0.25] * 3, "image_std": [0.75] * 3},
}


@pytest.mark.parametrize("steps", STEPS)
def test_steps_that_may_be_left_out(steps: str, tmp_path: Path) -> None:
    make_vit(tmp_path)
    values = {"size": {"height": 30, "width": 44}, **STEPS[steps]}
    write_json(tmp_path / "preprocessor_config.json", values)
    processor = ViTImageProcessorPil(**values)
    given = image(30, 44)
    expected = processor(Image.fromarray(given), return_tensors="np").pixel_values[0]
    found = Encoder(tmp_path).pictures.pixel_values(given)
    np.testing.assert_allclose(found, expected, atol=1e-3 if "no" in steps else 1e-5, rtol=1e-5)


def test_images_that_are_not_resized(tmp_path: Path) -> None:
    make_vit(tmp_path)
    write_json(tmp_path / "preprocessor_config.json", {"do_resize": False})
    encoder = Encoder(tmp_path)
    assert encoder.encode(image(30, 44)).logits is not None
    with pytest.raises(OptionError, match=r"31 x 44 pixels.*expected 30 x 44"):
        encoder.encode(image(31, 44))


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "crop": ({"do_center_crop": True}, "do_center_crop"),
    "pad": ({"do_pad": True}, "do_pad"),
    "filter": ({"size": {"height": 30, "width": 44}, "resample": 3}, "resample = 3"),
    "size": ({"size": 224}, "pictures of 30 x 44"),
    "none": ({"size": {}}, "pictures of 30 x 44"),
    "edge": ({"size": {"shortest_edge": 30}}, "shortest_edge"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_steps_that_are_not_known(case: str, tmp_path: Path) -> None:
    values, message = UNKNOWN[case]
    make_vit(tmp_path)
    write_json(tmp_path / "preprocessor_config.json", values)
    with pytest.raises(UnsupportedModelError, match=message):
        Encoder(tmp_path)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "mean": ({"image_mean": [0.5]}, "image_mean should be 3 numbers"),
    "deviation": ({"image_std": [0.5, 0.0, 0.5]}, "image_std should be"),
    "words": ({"image_std": ["a", "b", "c"]}, "image_std should be a finite number"),
    "factor": ({"rescale_factor": "1/255"}, "rescale_factor should be a finite number"),
    "flag": ({"do_resize": 3}, "do_resize should be true or false"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_preparation(case: str, tmp_path: Path) -> None:
    values, message = BROKEN[case]
    make_vit(tmp_path)
    size = {"size": {"height": 30, "width": 44}}
    write_json(tmp_path / "preprocessor_config.json", {**size, **values})
    with pytest.raises(CheckpointError, match=message):
        Encoder(tmp_path)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "text": (lambda e: e.encode("a dog"), TypeError, "inputs are str"),
    "texts": (lambda e: e.encode(["a dog"]), TypeError, "picture 0 holds <U5"),
    "pairs": (lambda e: e.encode(image(30, 44), "a"), OptionError, "this model reads pictures"),
    "size": (lambda e: e.encode(np.zeros((3, 44, 30))), OptionError, r"\[3, 44, 30\]"),
    "channels": (lambda e: e.encode([image(30, 44)[..., :2]]), OptionError, r"\[30, 44, 2\]"),
    "flat": (lambda e: e.encode([image(30, 44)[..., 0]]), OptionError, r"\[30, 44\]"),
    "nothing": (lambda e: e.encode([image(0, 44)]), OptionError, r"\[0, 44, 3\]"),
    "integers": (lambda e: e.encode([np.zeros((3, 30, 44), int)]), TypeError, "holds int64"),
    "floats-as-image": (
        lambda e: e.pictures.pixel_values(np.zeros((30, 44, 3))),
        TypeError,
        "uint8",
    ),
    "tokens": (lambda e: e.forward_batch([[1]]), OptionError, "give them to encode"),
    "tokenizer": (lambda e: e.tokenizer, OptionError, "reads pictures, and has no tokenizer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(pair: Pair, case: str) -> None:
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call(pair.encoder)
