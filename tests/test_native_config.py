"""The configuration inside a native file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from checkpoints import MarianCheckpoint
from native_images import config_of, config_text
from pytransformer import loaders, native
from pytransformer.errors import CheckpointError
from pytransformer.model_spec import Checkpoint
from pytransformer.native_header import read_config


@pytest.fixture(scope="module")
def checkpoint(marian: MarianCheckpoint) -> Checkpoint:
    return loaders.load(marian.path)


@pytest.fixture(scope="module")
def image(checkpoint: Checkpoint) -> np.ndarray:
    return native.build_image(checkpoint)


def test_read_config_inverts_the_writer(image: np.ndarray, checkpoint: Checkpoint) -> None:
    family, model, generation, tokenizer = read_config(config_text(image))
    assert family == checkpoint.family
    assert model == checkpoint.model
    assert generation == checkpoint.generation
    assert tokenizer.kind == "marian"
    added = {key: value for key, value in tokenizer.settings.items() if key != "files"}
    assert added == checkpoint.tokenizer.settings
    assert set(tokenizer.settings["files"]) == {
        "source.spm",
        "target.spm",
        "source_vocabulary.json",
    }


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a nested object, the tokenizer's free settings left out."""
    if isinstance(value, dict) and path[-1:] != ("settings",):
        for key in value:
            yield (*path, key)
            yield from paths_in(value[key], (*path, key))


def changed_at(config: dict[str, Any], path: tuple[Any, ...], new: Any) -> str:
    copy = json.loads(json.dumps(config))
    target = copy
    for key in path[:-1]:
        target = target[key]
    if new is None:
        del target[path[-1]]
    else:
        target[path[-1]] = new
    return json.dumps(copy)


def test_config_lacks_a_key_or_has_a_wrong_type(image: np.ndarray) -> None:
    config = config_of(image)
    paths = list(paths_in(config))
    assert len(paths) > 40
    for path in paths:
        with pytest.raises(CheckpointError, match=str(path[-1])):
            read_config(changed_at(config, path, None))
        with pytest.raises(CheckpointError, match=str(path[-1])):
            read_config(changed_at(config, path, [{}]))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "encoder", "d_model"), True),
        (("model", "encoder", "d_model"), 1.0),
        (("model", "encoder", "activation"), "mish"),
        (("model", "tied_output"), 1),
        (("generation", "early_stopping"), "always"),
        (("generation", "suppress_token_ids"), [1, "2"]),
        (("generation", "unknown"), 1),
        (("model", "decoder", "positions", "unknown"), 1),
    ],
)
def test_config_with_a_wrong_value(image: np.ndarray, path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(CheckpointError, match=path[-1]):
        read_config(changed_at(config_of(image), path, value))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"a": NaN}', "[" * 100_000, "{}"])
def test_config_that_is_no_object(text: str) -> None:
    with pytest.raises(CheckpointError):
        read_config(text)


def test_integers_serve_as_floats(image: np.ndarray) -> None:
    text = changed_at(config_of(image), ("generation", "length_penalty"), 2)
    length_penalty = read_config(text)[2].length_penalty
    assert length_penalty == 2.0
    assert isinstance(length_penalty, float)
