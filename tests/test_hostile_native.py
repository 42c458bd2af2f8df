"""Native files of every kind of model whose configuration is damaged, for both of its readers.

The engine (C++) and the package (Python) each refuse it with their own error, or the model runs:
there is a result, or an error that says that its numbers are not finite.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from memory_bounds import memory_within
from mutations import HOSTILE_JSON
from native_images import config_of, image_of, stored_tensors
from pytransformer import _native, native
from pytransformer.errors import CheckpointError
from pytransformer.model_spec import (
    Activation,
    Architecture,
    Autoregression,
    DistanceKind,
    HeadSpec,
    ModelSpec,
    NormKind,
    NormPosition,
    PositionKind,
    PositionSpec,
)
from pytransformer.native_header import read_config
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
    except CheckpointError:
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
def test_every_field(name: str) -> None:
    """Each field of the architecture, replaced by each value, taken away and written twice."""
    image = sound(name)
    config, tensors = config_of(image), stored_tensors(image)
    assert not is_refused(image)
    inputs = refusals = 0
    with memory_within(MEGABYTES):
        for place in places({"model": config["model"]}):
            for value in (*VALUES, None, f'1, "{place[-1]}": 1'):
                text = changed(config, place, value)
                if len(text) > 50_000 and inputs % 5:
                    continue  # they take long
                inputs += 1
                refusals += is_refused(image_of(text, tensors))
    assert inputs > 2000
    assert 0.8 * inputs < refusals < inputs
