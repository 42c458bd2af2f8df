"""The configuration inside a native file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from checkpoints import MarianCheckpoint
from native_images import config_of, config_text, image_of, stored_tensors
from pytransformer import _native, loaders, native
from pytransformer.errors import CheckpointError
from pytransformer.model_spec import (
    LATER,
    Checkpoint,
    GenerationSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
)
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
        if path not in later_keys():
            with pytest.raises(CheckpointError, match=str(path[-1])):
                read_config(changed_at(config, path, None))
        with pytest.raises(CheckpointError, match=str(path[-1])):
            read_config(changed_at(config, path, [{}]))


DESCRIBED = {
    ("generation",): GenerationSpec,
    ("model",): ModelSpec,
    ("model", "encoder"): StackSpec,
    ("model", "decoder"): StackSpec,
    ("model", "encoder", "positions"): PositionSpec,
    ("model", "decoder", "positions"): PositionSpec,
}


def later_keys() -> set[tuple[str, ...]]:
    """Those that the first files of this format lack."""
    return {
        (*path, field.name)
        for path, kind in DESCRIBED.items()
        for field in dataclasses.fields(kind)
        if field.metadata == LATER
    }


def test_files_from_before_a_key_existed_mean_its_default(
    image: np.ndarray, checkpoint: Checkpoint
) -> None:
    config = config_of(image)
    assert len(later_keys()) >= 25
    for path in later_keys():
        config = json.loads(changed_at(config, path, None))
    _, model, generation, _ = read_config(json.dumps(config))
    assert model == checkpoint.model
    assert generation == checkpoint.generation
    assert generation.more_end_token_ids == generation.suppress_sequences == ()
    assert generation.forced_bos_token_id is None
    assert generation.repetition_penalty == 1.0
    assert generation.no_repeat_ngram_size == 0
    old = image_of(json.dumps(config), stored_tensors(image))
    text = json.loads(_native.Model.from_buffer(old, "old").config)
    assert later_keys().isdisjoint(paths_in(text))


def test_keys_that_came_later_survive_a_file(checkpoint: Checkpoint) -> None:
    values = dataclasses.replace(
        checkpoint.generation,
        more_end_token_ids=(3, 4),
        forced_bos_token_id=5,
        repetition_penalty=1.5,
        no_repeat_ngram_size=2,
        suppress_sequences=((6, 7), (8, 9, 10)),
    )
    image = native.build_image(dataclasses.replace(checkpoint, generation=values))
    assert read_config(config_text(image))[2] == values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("generation", "more_end_token_ids"), 3),
        (("generation", "forced_bos_token_id"), "3"),
        (("generation", "repetition_penalty"), "1"),
        (("generation", "suppress_sequences"), [3]),
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
