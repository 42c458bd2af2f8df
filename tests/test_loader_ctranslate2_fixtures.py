"""Models that CTranslate2 converted, against what it translated with them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytransformer.ctranslate2 as dropin
from pytransformer import Translator

NAMES = ["bart", "marian_shared", "t5_tied"]
QUANTIZATIONS = ["none", "int8", "int16", "float16"]
TOLERANCE = 1e-4


class Fixture:
    """A converted model, its sources, and what CTranslate2 gave for them."""

    def __init__(self, folder: Path, quantization: str) -> None:
        self.path = folder / f"ct2_{quantization}"
        self.sources: list[list[str]] = json.loads((folder / "source_tokens.json").read_text())
        with gzip.open(folder / f"ct2_{quantization}.outputs.json.gz", "rt") as file:
            records = json.load(file)
        prefix = records["target_prefix"]
        self.options: dict[str, Any] = {
            "target_prefix": None if prefix is None else [prefix] * len(self.sources),
            "max_decoding_length": records["max_decoding_length"],
        }
        self.records = records

    def translate(self, compute_type: str = "float32", **options: Any) -> list[Any]:
        translator = dropin.Translator(str(self.path), compute_type=compute_type)
        found: list[Any] = translator.translate_batch(
            self.sources, return_scores=True, **self.options, **options
        )
        return found

    def recorded(self, run: str, compute_type: str = "float32") -> Any:
        return self.records[compute_type]["runs"][run]


@pytest.fixture(params=QUANTIZATIONS)
def quantization(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=NAMES)
def fixture(request: pytest.FixtureRequest, shared_data: Path, quantization: str) -> Fixture:
    folder = shared_data.parent / "models" / "ctranslate2" / request.param
    if not folder.is_dir():
        pytest.skip(f"no models at {folder}")
    return Fixture(folder, quantization)


def test_greedy(fixture: Fixture) -> None:
    found, expected = fixture.translate(beam_size=1), fixture.recorded("greedy")
    assert_same(found, expected)


@pytest.mark.parametrize("length_penalty", [1, 0])
def test_beam_search(fixture: Fixture, length_penalty: float) -> None:
    run = "beam4" if length_penalty else "beam4_length_penalty_0"
    found = fixture.translate(beam_size=4, num_hypotheses=4, length_penalty=length_penalty)
    assert_same(found, fixture.recorded(run))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """All hypotheses of all sentences, and their scores."""
    assert [one.hypotheses for one in found] == [one["hypotheses"] for one in expected]
    np.testing.assert_allclose(
        [one.scores for one in found], [one["scores"] for one in expected], atol=TOLERANCE
    )


def test_given_translations(fixture: Fixture) -> None:
    recorded = fixture.recorded("score_batch_of_greedy_first10")
    translator = dropin.Translator(str(fixture.path), compute_type="float32")
    targets = [one["tokens"][:-1] for one in recorded]
    found = translator.score_batch(fixture.sources[: len(targets)], targets)
    for ours, theirs in zip(found, recorded, strict=True):
        assert ours.tokens == theirs["tokens"]
        np.testing.assert_allclose(ours.log_probs, theirs["log_probs"], atol=TOLERANCE)


@pytest.mark.parametrize("quantization", ["int8"], indirect=True)
def test_int8_agrees_mostly(fixture: Fixture) -> None:
    """Activations are rounded differently, and small models tell tokens apart by little."""
    expected = fixture.recorded("greedy", "default")
    found = fixture.translate("default", beam_size=1)
    same = [
        ours.hypotheses == theirs["hypotheses"]
        for ours, theirs in zip(found, expected, strict=True)
    ]
    assert sum(same) >= 35


@pytest.mark.parametrize("quantization", ["none"], indirect=True)
def test_our_own_translator_opens_them(fixture: Fixture) -> None:
    translator = Translator(fixture.path)
    prefix = fixture.options["target_prefix"]
    found = translator.translate_batch(
        fixture.sources,
        prefix,
        beam_size=1,
        max_decoding_length=fixture.options["max_decoding_length"],
    )
    expected = [one["hypotheses"] for one in fixture.recorded("greedy")]
    assert [one.hypotheses for one in found] == expected


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_a_model_of_version_2(shared_data: Path, beam_size: int) -> None:
    path = shared_data.parent / "models" / "aren-transliteration"
    if not path.is_dir():
        pytest.skip(f"no model at {path}")
    words = {"آتزمون": "atzmon", "آتشيسون": "achison", "آزا": "azza"}
    sources = [list(word) for word in words]
    translator = dropin.Translator(str(path))
    found = translator.translate_batch(sources, beam_size=beam_size)
    assert ["".join(one.hypotheses[0]) for one in found] == list(words.values())
    ours = Translator(path).translate_batch(sources, beam_size=beam_size)
    assert [one.hypotheses[0] for one in ours] == [one.hypotheses[0] for one in found]
