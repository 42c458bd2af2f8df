"""CTranslate2's search: what it does, and that the drop-in does the same."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytransformer.ctranslate2 as dropin
from ctranslate2_models import LIVELY, vocabulary, write_model
from reference_ctranslate2 import Found, Options, search

TOKENS = vocabulary(23)
LINES = 5


class Model:
    """A model opened by the drop-in, and its logits for the reference."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.translator = dropin.Translator(self.path, compute_type="float32", intra_threads=1)
        self._loaded = self.translator._loaded()
        self.end_id = self._loaded.end_id

    def ids(self, tokens: Sequence[str]) -> list[int]:
        return self._loaded.target_ids(tokens)

    def tokens(self, found: Sequence[Found]) -> list[list[str]]:
        return [self._loaded.target_tokens(one.tokens) for one in found]

    def logits(self, source: list[str]) -> Callable[[Sequence[int]], Any]:
        ids = self._loaded.source_ids(source, 0)
        known: dict[tuple[int, ...], Any] = {}

        def behind(tokens: Sequence[int]) -> Any:
            key = tuple(tokens)
            if key not in known:
                read = [self._loaded.start_id, *key]
                known[key] = self._loaded.sentences.engine.logits(ids, read)[-1]
            return known[key]

        return behind

    def reference(
        self, source: list[str], prefix: Sequence[str] = (), **options: Any
    ) -> list[Found]:
        forbidden = options.pop("suppress_sequences", None) or ()
        sequences = tuple(tuple(self.ids(tokens)) for tokens in forbidden)
        chosen = Options((self.end_id,), suppress_sequences=sequences, **options)
        return search(self.logits(source), chosen, self.ids(prefix))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(write_model(tmp_path_factory.mktemp("model"), LIVELY))


def random_options(rng: random.Random) -> dict[str, Any]:
    """Options of a search, with room behind the longest prefix."""
    beam_size = rng.randint(1, 5)
    patience = rng.choice([0.5, 1, 1, 1.5, 2]) if beam_size > 1 else 1
    return {
        "beam_size": beam_size,
        "patience": patience,
        "num_hypotheses": rng.randint(1, max(1, math.floor(beam_size * patience + 0.5))),
        "length_penalty": rng.choice([0, 0.2, 1, 1, 2]),
        "max_decoding_length": rng.choice([5, 8, 14]),
        "min_decoding_length": rng.choice([0, 1, 3]),
        "repetition_penalty": rng.choice([1, 1.3, 0.8]),
        "no_repeat_ngram_size": rng.choice([0, 0, 1, 3]),
        "suppress_sequences": [
            rng.choices(TOKENS[3:], k=rng.choice([1, 2])) for _ in range(rng.choice([0, 3]))
        ],
    }


def random_prefix(rng: random.Random) -> list[str]:
    return rng.choice([[], [], ["4"], ["6", "9"]])


def random_source(rng: random.Random) -> list[str]:
    return rng.choices(TOKENS[3:], k=rng.randint(2, 7))


@pytest.mark.parametrize("seed", range(40))
def test_the_reference_is_ctranslate2(model: Model, seed: int) -> None:
    real = pytest.importorskip("ctranslate2").Translator(model.path, intra_threads=1)
    rng = random.Random(seed)
    for _ in range(5):
        source, options = random_source(rng), random_options(rng)
        prefix = random_prefix(rng)
        (expected,) = real.translate_batch(
            [source],
            [prefix] if prefix else None,
            return_scores=True,
            return_end_token=True,
            **options,
        )
        found = model.reference(source, prefix, **options)
        assert model.tokens(found) == expected.hypotheses, options
        np.testing.assert_allclose([one.score for one in found], expected.scores, atol=1e-4)


@pytest.mark.parametrize("name", ["bart", "marian_shared", "t5_tied"])
@pytest.mark.parametrize("length_penalty", [1, 0])
def test_the_reference_gives_recorded_translations(
    shared_data: Path, name: str, length_penalty: float
) -> None:
    folder = shared_data.parent / "models" / "ctranslate2" / name
    if not folder.is_dir():
        pytest.skip(f"no models at {folder}")
    with gzip.open(folder / "ct2_none.outputs.json.gz", "rt") as file:
        records = json.load(file)
    sources = json.loads((folder / "source_tokens.json").read_text())
    run = "beam4" if length_penalty else "beam4_length_penalty_0"
    model = Model(folder / "ct2_none")
    for source, recorded in zip(
        sources[:LINES], records["float32"]["runs"][run][:LINES], strict=True
    ):
        found = model.reference(
            source,
            records["target_prefix"] or (),
            beam_size=4,
            num_hypotheses=4,
            length_penalty=length_penalty,
            max_decoding_length=records["max_decoding_length"],
        )
        said = [[token for token in tokens if token != "</s>"] for tokens in model.tokens(found)]
        assert said == recorded["hypotheses"]
        np.testing.assert_allclose([one.score for one in found], recorded["scores"], atol=1e-4)


@pytest.mark.parametrize("seed", range(60))
def test_searches_are_the_same(model: Model, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        source, prefix, options = random_source(rng), random_prefix(rng), random_options(rng)
        (found,) = model.translator.translate_batch(
            [source], [prefix], return_scores=True, return_end_token=True, **options
        )
        expected = model.reference(source, prefix, **options)
        assert found.hypotheses == model.tokens(expected), options
        np.testing.assert_allclose(found.scores, [one.score for one in expected], atol=1e-4)


def test_coverage_is_the_same(model: Model) -> None:
    """That of the heads whose attention is returned."""
    real = pytest.importorskip("ctranslate2").Translator(model.path, intra_threads=1)
    rng = random.Random(3)
    for _ in range(60):
        source, prefix, options = random_source(rng), random_prefix(rng), random_options(rng)
        options |= {"coverage_penalty": rng.choice([0.2, 0.7]), "return_scores": True}
        if options["beam_size"] == 1:
            continue  # there CTranslate2 crashes
        (found,) = model.translator.translate_batch([source], [prefix], **options)
        (expected,) = real.translate_batch([source], [prefix], **options)
        assert found.hypotheses == expected.hypotheses, options
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_neighbours_change_nothing(model: Model) -> None:
    rng = random.Random(5)
    for _ in range(20):
        sources, options = [random_source(rng) for _ in range(6)], random_options(rng)
        prefixes = [random_prefix(rng) for _ in sources]
        together = model.translator.translate_batch(
            sources, prefixes, return_scores=True, **options
        )
        for source, prefix, found in zip(sources, prefixes, together, strict=True):
            (alone,) = model.translator.translate_batch(
                [source], [prefix], return_scores=True, **options
            )
            assert (found.hypotheses, found.scores) == (alone.hypotheses, alone.scores)
