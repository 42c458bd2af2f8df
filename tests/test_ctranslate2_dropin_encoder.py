"""CTranslate2's Encoder: calls give what CTranslate2 gives for the same BERT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytransformer.ctranslate2 as dropin
from ctranslate2_peer import outcome
from huggingface_alone import make_bert, make_gpt2
from pytransformer import Encoder
from test_ctranslate2_dropin import documented_parameters, parameters, same

IDS = ((2, 30, 31, 80, 3), (2, 3), (105,))
TYPES = ((0, 0, 1, 1, 1), (1, 0), (1,))
POSITIONS = 70


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    # CTranslate2's converter looks for a setting that transformers no longer has.
    make_bert(path, "model", position_embedding_type="absolute")
    return path


class Model:
    """A module's encoder."""

    def __init__(self, module: Any, path: Path) -> None:
        self.module = module
        self.encoder = module.Encoder(str(path), compute_type="float32", intra_threads=1)

    def view(self, values: Any, kind: type = np.int32) -> Any:
        return self.module.StorageView.from_array(np.array(values, kind))

    def forward(self, *args: Any, **options: Any) -> Any:
        """States of what is no padding in the first input, and what the pooler gives for all."""
        found = self.encoder.forward_batch(*args, **options)
        states, pooled = np.array(found.last_hidden_state), np.array(found.pooler_output)
        return [list(states.shape), states[0].tolist(), pooled.tolist()]


@pytest.fixture(scope="module")
def ours(path: Path) -> Model:
    return Model(dropin, path)


@pytest.fixture(scope="module")
def theirs(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    real = pytest.importorskip("ctranslate2")
    converters = pytest.importorskip("ctranslate2.converters")
    converted = tmp_path_factory.mktemp("converted") / "model"
    converters.TransformersConverter(str(path)).convert(str(converted))
    return Model(real, converted)


CALLS: dict[str, Callable[[Model], Any]] = {
    "ids": lambda m: m.forward(IDS),
    "types": lambda m: m.forward(IDS, None, TYPES),
    "types by name": lambda m: m.forward(IDS[:1], token_type_ids=TYPES[:1]),
    "tokens": lambda m: m.forward([["[CLS]", "the", "dog", "zzz", "[SEP]"], ["the", "cat"]]),
    "arrays": lambda m: m.forward([np.array(IDS[0], np.int32)]),
    "dense": lambda m: m.forward(m.view([[2, 30, 31], [2, 3, 0]]), m.view([3, 2])),
    "dense with types": lambda m: m.forward(
        m.view([[2, 30, 31], [2, 3, 0]]), m.view([3, 2]), [[0, 1, 1], [1, 1, 0]]
    ),
    "dense without lengths": lambda m: m.forward(m.view([[2, 30, 31]])),
    "lengths of another number": lambda m: m.forward(m.view([[2, 30, 31]]), m.view([3, 2])),
    "lengths that are not needed": lambda m: m.forward(IDS[:1], m.view([2])),
    "lengths as a list": lambda m: m.forward(m.view([[2, 30, 31]]), [3]),
    "types of another length": lambda m: m.forward(IDS, None, [[0, 1], [1, 1], [0]]),
    "text": lambda m: m.forward("abc"),
    "number": lambda m: m.forward(3),
    "longest": lambda m: m.forward([[7] * POSITIONS]),
    "too long": lambda m: m.forward([[7] * (POSITIONS + 1)]),
    "properties": lambda m: [
        m.encoder.device,
        m.encoder.device_index,
        m.encoder.compute_type,
        m.encoder.num_encoders,
        m.encoder.num_active_batches,
        m.encoder.num_queued_batches,
        m.encoder.model_is_loaded,
        m.encoder.tensor_parallel,
    ],
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(ours: Model, theirs: Model, name: str) -> None:
    found, expected = outcome(CALLS[name], ours), outcome(CALLS[name], theirs)  # type: ignore[arg-type]
    assert same(found, expected), f"\n{found}\n{expected}"


def test_states_are_padded_with_zeros(ours: Model, path: Path) -> None:
    found = ours.encoder.forward_batch(IDS, None, TYPES)
    assert isinstance(found, dropin.EncoderForwardOutput)
    assert isinstance(found.pooler_output, dropin.StorageView)
    assert found.last_hidden_state.dtype == dropin.DataType.float32
    expected = Encoder(path).forward_batch(IDS, TYPES)
    assert expected.pooler_output is not None
    assert np.array_equal(np.asarray(found.pooler_output), expected.pooler_output)
    states = np.asarray(found.last_hidden_state)
    assert states.shape == (3, 5, 45)
    for row, wanted in zip(states, expected.last_hidden_state, strict=True):
        assert np.array_equal(row[: len(wanted)], wanted)
        assert not row[len(wanted) :].any()


@pytest.mark.parametrize("inputs", [[[]], [[2], []], [[100000]], [[-1]]])
def test_inputs_that_cannot_be(ours: Model, inputs: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="input"):
        ours.encoder.forward_batch(inputs)


@pytest.mark.parametrize("lengths", [[0], [4]])
def test_lengths_that_cannot_be(ours: Model, lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        ours.encoder.forward_batch(ours.view([[2, 30, 31]]), ours.view(lengths))


def test_mixed_inputs(ours: Model) -> None:
    with pytest.raises(TypeError, match="tokens"):
        ours.encoder.forward_batch([[2, "the"]])


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_converted_and_in_memory(
    ours: Model, path: Path, tmp_path: Path, quantization: str | None
) -> None:
    from pytransformer.ctranslate2.converters import TransformersConverter

    converted = tmp_path / "converted"
    TransformersConverter(str(path)).convert(str(converted), quantization=quantization)
    assert {item.name for item in converted.iterdir()} == {
        "config.json", "model.bin", "vocabulary.json",
    }  # fmt: skip
    files = {item.name: item.read_bytes() for item in converted.iterdir()}
    encoders = [
        dropin.Encoder(str(converted), intra_threads=1),
        dropin.Encoder("a name", files=files, intra_threads=1),
    ]
    found = [np.asarray(one.forward_batch(IDS).last_hidden_state) for one in encoders]
    assert np.array_equal(found[0], found[1])
    if quantization is None:
        assert np.array_equal(found[0], ours.encoder.forward_batch(IDS).last_hidden_state)
    else:
        assert encoders[0].compute_type == "int8_float32"


def test_unloaded(path: Path) -> None:
    encoder = dropin.Encoder(str(path))
    encoder.unload_model()
    assert not encoder.model_is_loaded
    with pytest.raises(RuntimeError, match="unloaded"):
        encoder.forward_batch(IDS)
    encoder.load_model()
    assert encoder.forward_batch(IDS).last_hidden_state.shape == [3, 5, 45]


def test_what_cannot_be_opened(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Unable to open file 'model.bin'"):
        dropin.Encoder(str(tmp_path / "nothing"))
    with pytest.raises(RuntimeError):
        dropin.Encoder(str(tmp_path))
    make_gpt2(tmp_path / "gpt2")
    with pytest.raises(RuntimeError, match="a decoder alone"):
        dropin.Encoder(str(tmp_path / "gpt2"))
    with pytest.raises(RuntimeError, match="an encoder alone"):
        dropin.Generator(str(path))


@pytest.mark.parametrize("name", ["__init__", "forward_batch", "load_model", "unload_model"])
def test_signatures_are_ctranslate2s(name: str) -> None:
    real = getattr(pytest.importorskip("ctranslate2").Encoder, name)
    places, keywords = parameters(getattr(dropin.Encoder, name))
    assert sorted([*places, *keywords]) == sorted(documented_parameters(real.__doc__))


def test_properties_are_ctranslate2s() -> None:
    real = pytest.importorskip("ctranslate2").Encoder
    names = [name for name in dir(real) if not name.startswith("_")]
    assert [name for name in names if not hasattr(dropin.Encoder, name)] == []
