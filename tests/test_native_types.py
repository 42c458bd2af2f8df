"""Native files whose matrices of some compute type are damaged: what is wrong is named."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mutations import damaged
from native_images import aligned, config_text, image_of, stored_tensors
from pytransformer import CheckpointError, _native, native
from pytransformer.model_files import open_model
from random_models import (
    lively_checkpoint,
    model_spec,
    random_checkpoint,
    run_search,
    search_options,
    sentences,
    stack,
)
from reference_formats import COMPUTE_TYPES

Tensors = dict[str, tuple[str, list[int], np.ndarray]]

# 37 inputs, so a group of int4 and a half.
MATRIX = "encoder.layers.1.feed_forward.down.weight"
SCALES = f"{MATRIX}.scales"
INTEGERS = ["int8", "int4"]


def parts_of(compute_type: str) -> tuple[str, Tensors]:
    """The configuration and the tensors of a small model."""
    image = native.build_image(random_checkpoint(model_spec()), compute_type)
    return config_text(image), stored_tensors(image)


def assert_refused(tmp_path: Path, image: np.ndarray, message: str) -> None:
    """By the engine and by whoever opens a model, with the file's name."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(image.tobytes())
    with pytest.raises(ValueError, match=rf"{path}: (?s:.)*{message}"):
        _native.Model.open(str(path))
    for compute_type in ("default", "float32", "int8"):
        with pytest.raises(CheckpointError, match=rf"{path}: (?s:.)*{message}"):
            open_model(path, compute_type)


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_images_put_together_again_are_good(compute_type: str) -> None:
    """Or the tests below would find faults of their own making."""
    config, tensors = parts_of(compute_type)
    model = _native.Model.from_buffer(image_of(config, tensors), "again")
    assert model.compute_type == compute_type


def swap_ends(shape: list[int]) -> list[int]:
    return shape[::-1]


def flatten(shape: list[int]) -> list[int]:
    return [int(np.prod(shape))]


def one_dimension_more(shape: list[int]) -> list[int]:
    return [1, *shape]


def as_float32(shape: list[int]) -> list[int]:
    """[panels, …, 16], which is float32's but for the inputs."""
    return [shape[0], flatten(shape)[0] // shape[0] // 16, 16]


@pytest.mark.parametrize("change", [swap_ends, flatten, one_dimension_more, as_float32])
@pytest.mark.parametrize("compute_type", ["bfloat16", *INTEGERS])
def test_wrong_shape(
    tmp_path: Path, compute_type: str, change: Callable[[list[int]], list[int]]
) -> None:
    """With as many bytes as before."""
    config, tensors = parts_of(compute_type)
    names = [MATRIX, SCALES] if compute_type in INTEGERS else [MATRIX]
    for name in names:
        dtype, shape, content = tensors[name]
        if change(shape) == shape or flatten(change(shape)) != flatten(shape):
            continue
        changed = {**tensors, name: (dtype, change(shape), content)}
        assert_refused(tmp_path, image_of(config, changed), f"wrong shape or type: {name}")


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_a_panel_less(tmp_path: Path, compute_type: str) -> None:
    config, tensors = parts_of(compute_type)
    for name in (MATRIX, SCALES):
        if name in tensors:
            dtype, shape, content = tensors[name]
            fewer = [shape[0] // 2, *shape[1:]]
            cut = {**tensors, name: (dtype, fewer, content[: content.size // 2])}
            assert_refused(tmp_path, image_of(config, cut), f"wrong shape or type: {name}")
            # The bytes stay, but the header speaks of fewer.
            unfit = {**tensors, name: (dtype, fewer, content)}
            assert_refused(tmp_path, image_of(config, unfit), f"{name} .*does not fit its shape")


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
@pytest.mark.parametrize(("dtype", "size"), [("F32", 4), ("BF16", 2), ("I8", 1), ("U8", 1)])
def test_wrong_type(tmp_path: Path, compute_type: str, dtype: str, size: int) -> None:
    """The same bytes called another type, in the shape that fits them best."""
    config, tensors = parts_of(compute_type)
    for name in (MATRIX, SCALES):
        if name not in tensors or tensors[name][0] == dtype:
            continue
        _, shape, content = tensors[name]
        for last in (shape[-1], 1, 2, 4, 16):
            rows, rest = divmod(content.size // size, int(np.prod(shape[:-2])) * last)
            if rest == 0:
                other = [*shape[:-2], rows, last]
                changed = {**tensors, name: (dtype, other, content)}
                assert_refused(tmp_path, image_of(config, changed), f"wrong shape or type: {name}")


@pytest.mark.parametrize("dtype", ["F16", "I4", "F8_E4M3", "i8", ""])
def test_unknown_type(tmp_path: Path, dtype: str) -> None:
    config, tensors = parts_of("int8")
    changed = {**tensors, MATRIX: (dtype, *tensors[MATRIX][1:])}
    assert_refused(tmp_path, image_of(config, changed), f"{MATRIX} has the unknown type {dtype}")


@pytest.mark.parametrize("compute_type", INTEGERS)
def test_missing_tensors(tmp_path: Path, compute_type: str) -> None:
    """All that are missing, in one error."""
    config, tensors = parts_of(compute_type)
    other = "decoder.cross_attention.key_value.weight.scales"
    fewer = {name: value for name, value in tensors.items() if name not in (SCALES, other)}
    image = image_of(config, fewer)
    assert_refused(tmp_path, image, f"missing: {SCALES}")
    assert_refused(tmp_path, image, f"missing: {other}")
    del fewer[MATRIX]
    assert_refused(tmp_path, image_of(config, fewer), f"missing: {MATRIX}\n")
    # Scales of what is not there.
    alone = {name: value for name, value in tensors.items() if name != MATRIX}
    assert_refused(tmp_path, image_of(config, alone), f"left over: {SCALES}")


@pytest.mark.parametrize("compute_type", ["float32", "bfloat16"])
def test_scales_that_belong_to_nothing(tmp_path: Path, compute_type: str) -> None:
    config, tensors = parts_of(compute_type)
    tensors[SCALES] = ("F32", [32], np.zeros(128, np.uint8))
    assert_refused(tmp_path, image_of(config, tensors), f"left over: {SCALES}")


@pytest.mark.parametrize("compute_type", ["bfloat16", *INTEGERS])
def test_vectors_stay_float32(tmp_path: Path, compute_type: str) -> None:
    config, tensors = parts_of(compute_type)
    dtype = {"bfloat16": "BF16", "int8": "I8", "int4": "U8"}[compute_type]
    width = 2 if dtype == "BF16" else 1
    name = "decoder.layers.0.feed_forward.norm.weight"
    tensors[name] = (dtype, [64 // width], np.zeros(64, np.uint8))
    assert_refused(tmp_path, image_of(config, tensors), f"wrong shape or type: {name}")


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_cut_short(tmp_path: Path, compute_type: str) -> None:
    """Within the last tensor and at its end, and just behind a tensor in the middle."""
    config, tensors = parts_of(compute_type)
    image = image_of(config, tensors)
    last = list(tensors)[-1]
    for missing in (1, 64, tensors[last][2].size):
        assert_refused(tmp_path, image[:-missing], f"cut short or damaged: tensor {last} ends")
    behind = itertools.dropwhile(lambda name: name != MATRIX, tensors)
    missing = sum(tensors[name][2].size for name in behind) - tensors[MATRIX][2].size // 2
    assert_refused(tmp_path, image[:-missing], "cut short or damaged: tensor .* ends")
    # The whole of the last one, header and all.
    fewer = {name: value for name, value in tensors.items() if name != last}
    if not last.endswith(".bias"):
        assert_refused(tmp_path, image_of(config, fewer), f"missing: {last}")


@pytest.mark.parametrize("compute_type", INTEGERS)
def test_rows_too_wide_for_exact_sums(compute_type: str) -> None:
    """As wide as documented they are accepted."""
    for d_ff, fits in ((65536, True), (65537, False)):
        spec = model_spec(encoder=stack(d_ff=d_ff, num_layers=1), decoder=stack(num_layers=1))
        image = native.build_image(random_checkpoint(spec), compute_type)
        if fits:
            assert _native.Model.from_buffer(image, "wide").compute_type == compute_type
        else:
            name = "encoder.layers.0.feed_forward.down.weight"
            with pytest.raises(ValueError, match=f"wide: .*\n  too wide: {name}"):
                _native.Model.from_buffer(image, "wide")


def translate(image: np.ndarray, **options: Any) -> object:
    engine = _native.Engine(_native.Model.from_buffer(image, "damaged"), 1, 1)
    return run_search(engine, sentences(3, 61, 5, 30), search_options(60, **options))


def assert_not_finite(image: np.ndarray) -> None:
    for options in ({}, {"beam_size": 4}, {"return_scores": False}):
        with pytest.raises(ValueError, match="finite"):
            translate(image, **options)


LIVELY = {name: native.build_image(lively_checkpoint(), name) for name in COMPUTE_TYPES}
NAMES = {
    compute_type: [
        name
        for name, (dtype, shape, _) in stored_tensors(image).items()
        if name.endswith(".scales") or (len(shape) > 1 and dtype == "BF16")
    ]
    for compute_type, image in LIVELY.items()
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("compute_type", "name"),
    [(compute_type, name) for compute_type, names in NAMES.items() for name in names],
)
def test_numbers_that_are_none(compute_type: str, name: str, value: float) -> None:
    """Scales, and weights in bfloat16: no translation comes of them, but an error."""
    image = aligned(LIVELY[compute_type])
    dtype, _, content = stored_tensors(image)[name]
    bits = np.float32(value).view(np.uint32)
    if dtype == "F32":
        content.view(np.uint32)[0] = bits
    else:
        content.view(np.uint16)[0] = bits >> 16
    assert_not_finite(image)


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_damage(tmp_path: Path, compute_type: str) -> None:
    """Anywhere: the file is refused by name, or translates to something, or to numbers that are
    none.
    """
    config, tensors = parts_of(compute_type)
    image = image_of(config, tensors)
    path = tmp_path / "model"
    content = image.tobytes()
    header = int.from_bytes(content[:8], "little")
    opened = refused = 0
    for changed in itertools.chain(damaged(content, 150, 1), damaged(content, 150, 2, header)):
        path.write_bytes(changed)
        try:
            model = _native.Model.open(str(path))
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
            continue
        opened += 1
        try:
            found = run_search(_native.Engine(model, 1, 1), [[1, 2, 0]], search_options(60))
        except ValueError as error:
            assert "finite" in str(error)  # noqa: PT017
        else:
            assert len(found) == 1
    assert opened > 50
    assert refused > 50
