"""Native files of every kind of model whose configuration is damaged, for both of its readers.

The engine (C++) and the package (Python) each refuse it with their own error, or the model runs:
there is a result, or an error that says that its numbers are not finite.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from hostile_directories import use, write_directory
from memory_bounds import memory_within
from mutations import HOSTILE_JSON, damaged, json_mutants, refused
from native_images import aligned, config_of, image_of, stored_tensors
from pytransformer import _native, native
from pytransformer.errors import CheckpointError
from pytransformer.model_files import open_model, read_checkpoint
from pytransformer.model_spec import (
    NO_STACK,
    Activation,
    Architecture,
    Autoregression,
    AverageSpec,
    DistanceKind,
    DistanceSpec,
    HeadSpec,
    ModelSpec,
    NormKind,
    NormPosition,
    PositionKind,
    PositionSpec,
)
from pytransformer.native_header import is_native, read_config
from random_models import (
    LIVELY,
    decoder_spec,
    encoder_spec,
    model_spec,
    random_checkpoint,
    run_search,
    search_options,
    stack,
)

Image = np.ndarray[Any, np.dtype[np.uint8]]

LEAST = 2000  # inputs
MEGABYTES = 80
# Words that mean something somewhere, and sizes that are possible somewhere.
_NAMES = sorted(
    {
        name
        for kind in (
            Activation, Architecture, Autoregression, DistanceKind, NormKind, NormPosition,
            PositionKind,
        )
        for name in get_args(kind)
    }
)  # fmt: skip
_OBJECTS = (
    {"kind": "bias", "max_distance": 3, "theta": 1.0},
    {"kind": "rotary", "max_distance": 0, "theta": 0.0},
    {"kind": "rotary", "max_distance": 65536, "theta": -1e30},
    {"kind": "none", "max_length": 65536, "offset": 65536, "segments": 256},
    {"num_layers": 0, "width": 1, "activation": "relu", "gated": False},
    {"pooler_size": 0, "pooler_activation": "tanh", "labels": [], "chances": "none"},
)
_SIZES = (2, 3, 4, 8, 16, 61, 70, 255, 256, 65535, 2**28 - 1, 2**28, 2**53)
VALUES = (*HOSTILE_JSON, *map(json.dumps, (*_NAMES, *_SIZES, *_OBJECTS, 1e-45, 3e38)))


def _lively(kind: str) -> ModelSpec:
    both, only_decoder, _ = LIVELY[kind]
    return model_spec(encoder=stack(**both), decoder=stack(**both, **only_decoder))


MODELS: dict[str, ModelSpec] = {
    **{kind: _lively(kind) for kind in LIVELY},
    "no-norms": model_spec(
        encoder=stack(norm_position="none", positions=PositionSpec("learned", 40, 2)),
        decoder=stack(norm_position="none", final_norm=True, vocab_size=45),
        shared_embedding=False,
        tied_output=False,
    ),
    "segments": encoder_spec(
        stack(positions=PositionSpec("learned", 40, segments=3), embedding_norm=True),
        HeadSpec(27, "tanh", ("a", "b", "c"), "softmax"),
    ),
    "vectors": encoder_spec(
        stack(positions=PositionSpec("learned", 40), vector_size=33),
        HeadSpec(0, "relu", ("a",), "none"),
    ),
    "decoder": decoder_spec(stack(positions=PositionSpec("sinusoidal_interleaved", 40))),
}


@functools.cache
def sound(name: str) -> Image:
    return native.build_image(random_checkpoint(MODELS[name]))


def open_both(image: Image) -> tuple[_native.Model, ModelSpec] | None:
    """The model as both readers open it; None if one of them refuses it."""
    try:
        model = _native.Model.from_buffer(image, "hostile")
    except ValueError as error:
        assert str(error).startswith("hostile: ")  # noqa: PT017
        return None
    try:
        return model, read_config(model.config)[1]
    except (CheckpointError, UnicodeDecodeError):  # a header without UTF-8 is not called native
        return None


def run(model: _native.Model, spec: ModelSpec) -> None:
    """Runs a model once; numbers may not be finite, or there may be too few positions."""
    engine = _native.Engine(model, 1, 1)
    encoder = spec.encoder
    try:
        if spec.architecture == "encoder":
            options = _native.SearchOptions()
            options.encode = True
            request = _native.Request([1, 0])
            if encoder.vector_size:
                request = _native.Request.of_vectors(np.ones((2, encoder.vector_size), np.float32))
            engine.submit([request], options).result()
        else:
            run_search(engine, [[0]], search_options(0, beam_size=2, max_decoding_length=2))
    except ValueError as error:
        if not re.search("finite|max_decoding_length = 2 is not between", str(error)):
            raise


def is_refused(image: Image) -> bool:
    opened = open_both(image)
    if opened is not None:
        run(*opened)
    return opened is None


def places(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key in value:
            yield (*place, key)
            yield from places(value[key], (*place, key))


def changed(config: dict[str, Any], place: tuple[str, ...], new: str | None) -> str:
    """The configuration with a value, given as it is written, at a place; None takes it out."""
    copy = json.loads(json.dumps(config))
    parent = copy
    for key in place[:-1]:
        parent = parent[key]
    if new is None:
        del parent[place[-1]]
        return json.dumps(copy)
    parent[place[-1]] = "a hole"
    return json.dumps(copy).replace('"a hole"', new)


@pytest.mark.parametrize("name", MODELS)
def test_fields(name: str) -> None:
    """Fields of the architecture replaced by values, taken away and written twice."""
    image = sound(name)
    config, tensors = config_of(image), stored_tensors(image)
    assert not is_refused(image)
    found = list(places({"model": config["model"]}))
    inputs = [
        (place, value)
        for place in found
        for value in (*VALUES, None, f'1, "{place[-1]}": 1')
        if value is None or len(value) < 10_000
    ]
    chosen = random.Random(name).sample(inputs, LEAST)
    assert {place for place, _ in chosen} == set(found)
    with memory_within(MEGABYTES):
        refusals = sum(is_refused(image_of(changed(config, *item), tensors)) for item in chosen)
    assert 0.8 * LEAST < refusals < LEAST


@pytest.mark.parametrize("value", [value for value in HOSTILE_JSON if len(value) > 10_000])
def test_long_values(value: str) -> None:
    image = sound("plain")
    config, tensors = config_of(image), stored_tensors(image)
    for place in places({"model": config["model"]}):
        if place[1:2] != ("decoder",):
            assert is_refused(image_of(changed(config, place, value), tensors))


def test_bytes(tmp_path: Path) -> None:
    """Damage anywhere in a file, and most of it in its header."""
    image = sound("average").tobytes()
    path = tmp_path / "x"
    found = []
    with memory_within(MEGABYTES):
        contents = itertools.chain(damaged(image, LEAST // 4), damaged(image, LEAST, 1, 11_000))
        for content in contents:
            path.write_bytes(content)
            found.append(is_refused(aligned(np.frombuffer(content, np.uint8))))
            assert is_native(path) in (True, False)
            with contextlib.suppress(CheckpointError):
                open_model(path)
    assert LEAST / 2 < sum(found) < len(found)


# Specifications that no loader makes, whose tensors all fit; and whether they are refused.
ODD: dict[str, tuple[ModelSpec, bool]] = {
    "decoder-of-vectors": (decoder_spec(stack(vector_size=5)), True),
    "decoder-of-vectors-behind-an-encoder": (model_spec(decoder=stack(vector_size=5)), True),
    "translator-of-vectors": (
        model_spec(encoder=stack(vector_size=5), shared_embedding=False),
        True,
    ),
    "ssru-with-distances": (
        model_spec(decoder=stack(autoregression="ssru", distances=DistanceSpec("bias", 2))),
        True,
    ),
    "average-of-nothing": (
        model_spec(
            decoder=stack(
                autoregression="average_attention", average=AverageSpec(0, 1, "relu", False)
            )
        ),
        False,
    ),
    "head-of-a-translator": (
        dataclasses.replace(model_spec(), head=HeadSpec(0, "relu", ("a",), "none")),
        True,
    ),
    "no-layers": (
        model_spec(encoder=stack(num_layers=0), decoder=stack(num_layers=0)),
        False,
    ),
    "one-of-everything": (
        model_spec(
            **{
                side: stack(num_layers=1, d_model=1, num_heads=1, head_dim=1, d_ff=1, vocab_size=1)
                for side in ("encoder", "decoder")
            }
        ),
        False,
    ),
    "odd-heads-that-turn": (
        model_spec(encoder=stack(head_dim=5, distances=DistanceSpec("rotary"))),
        True,
    ),
    "no-distance": (
        model_spec(
            encoder=stack(distances=DistanceSpec("bias", 0)),
            decoder=stack(distances=DistanceSpec("vectors", 0)),
        ),
        False,
    ),
    "types-of-tokens": (
        model_spec(encoder=stack(positions=PositionSpec("learned", 9, 3, segments=7))),
        False,
    ),
    "deep": (model_spec(encoder=stack(feed_forward_depth=16, gated=True)), False),
    "too-deep": (model_spec(encoder=stack(feed_forward_depth=17)), True),
    "widths-that-differ": (
        model_spec(encoder=stack(d_model=33), decoder=stack(), shared_embedding=False),
        False,
    ),
    "widths-that-differ-shared": (model_spec(encoder=stack(d_model=33)), True),
    "layers-of-a-missing-stack": (
        dataclasses.replace(
            encoder_spec(stack()), decoder=dataclasses.replace(NO_STACK, num_layers=2)
        ),
        True,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_architectures(name: str) -> None:
    model, refusal = ODD[name]
    assert is_refused(native.build_image(random_checkpoint(model))) == refusal


@pytest.mark.parametrize("kind", ["sinusoidal", "sinusoidal_interleaved"])
def test_table_of_positions(kind: PositionKind) -> None:
    """Widths cost hardly anything in a model without layers, but the table of its positions."""
    both = stack(num_layers=0, d_model=2**12, vocab_size=3, positions=PositionSpec(kind, 2**16))
    image = native.build_image(random_checkpoint(model_spec(encoder=both, decoder=both)))
    with memory_within(MEGABYTES), pytest.raises(ValueError, match="larger than the model"):
        _native.Model.from_buffer(image, "hostile")
    both = dataclasses.replace(both, positions=PositionSpec(kind, 2**10))
    image = native.build_image(random_checkpoint(model_spec(encoder=both, decoder=both)))
    assert not is_refused(image)


@pytest.mark.parametrize(
    "name", ["marian", "small100", "nllb", "bart", "fsmt", "t5", "bert", "vit"]
)
def test_settings(name: str, tmp_path: Path) -> None:
    """What a native file says of its tokenizer and of generation."""
    checkpoint = read_checkpoint(str(write_directory(tmp_path / "x", name)))
    image = native.build_image(checkpoint)
    config, tensors = config_of(image), stored_tensors(image)
    path = tmp_path / "native"
    path.write_bytes(image.tobytes())
    use(path, checkpoint)
    start = json.dumps({"model": config.pop("model")})[:-1]
    refusals = 0
    with memory_within(MEGABYTES):
        for rest in json_mutants(json.dumps(config).encode(), LEAST // 8):
            text = f"{start}, {rest.decode('utf-8', 'surrogatepass')[1:]}"
            path.write_bytes(image_of(text, tensors).tobytes())
            refusals += refused(lambda path: use(path, checkpoint), path)
    assert LEAST / 80 < refusals < LEAST / 8
