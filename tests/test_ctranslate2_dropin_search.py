"""CTranslate2's search: what it does, and how far ours does the same."""

from __future__ import annotations

import gzip
import json
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


def random_options(rng: random.Random, *, plain: bool) -> dict[str, Any]:
    """Options of a search; plain ones are those that ours follows to the letter."""
    beam_size = rng.randint(1, 5)
    options: dict[str, Any] = {
        "beam_size": beam_size,
        "num_hypotheses": rng.randint(1, beam_size),
        "length_penalty": rng.choice([0.2, 1, 2]),
        "max_decoding_length": rng.choice([5, 8, 14]),
        "min_decoding_length": 0,
    }
    if beam_size > 1 and rng.random() < 0.3:
        options["patience"] = rng.choice([1.5, 2])
    if plain:
        return options
    options["length_penalty"] = rng.choice([0, 1, 1])
    options["min_decoding_length"] = rng.choice([0, 1, 3])
    options["repetition_penalty"] = rng.choice([1, 1.3, 0.8])
    options["no_repeat_ngram_size"] = rng.choice([0, 0, 1, 3])
    options["suppress_sequences"] = [
        rng.choices(TOKENS[3:], k=rng.choice([1, 2])) for _ in range(rng.choice([0, 3]))
    ]
    return options


def random_source(rng: random.Random) -> list[str]:
    return rng.choices(TOKENS[3:], k=rng.randint(2, 7))


@pytest.mark.parametrize("seed", range(40))
def test_the_reference_is_ctranslate2(model: Model, seed: int) -> None:
    real = pytest.importorskip("ctranslate2").Translator(model.path, intra_threads=1)
    rng = random.Random(seed)
    for _ in range(5):
        source, options = random_source(rng), random_options(rng, plain=False)
        prefix = rng.choice([[], [], ["4"], ["6", "9"]])
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


@pytest.mark.parametrize("seed", range(40))
def test_plain_searches_are_the_same(model: Model, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        source, options = random_source(rng), random_options(rng, plain=True)
        (found,) = model.translator.translate_batch(
            [source], return_scores=True, return_end_token=True, **options
        )
        expected = model.reference(source, **options)
        assert found.hypotheses == model.tokens(expected), options
        np.testing.assert_allclose(found.scores, [one.score for one in expected], atol=1e-4)


@pytest.mark.xfail(
    strict=True, reason="what is forbidden keeps its probability, and prefixes are no part of L"
)
def test_all_searches_are_the_same(model: Model) -> None:
    rng = random.Random(0)
    for _ in range(100):
        source, options = random_source(rng), random_options(rng, plain=False)
        prefix = rng.choice([[], [], ["4"], ["6", "9"]])
        (found,) = model.translator.translate_batch(
            [source], [prefix], return_end_token=True, **options
        )
        assert found.hypotheses == model.tokens(model.reference(source, prefix, **options))
