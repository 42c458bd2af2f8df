"""The same numbers and translations as transformers, from models of BART's relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from decoding_engine import plain, run
from huggingface_families import FAMILIES, load, make_model
from huggingface_searches import search
from pytransformer import _native, native
from pytransformer.model_spec import Checkpoint
from random_models import make_engine
from reference_model import ReferenceModel
from reference_rules import ReferenceOptions, broken_rules

VOCABULARY = 61
LINES = 200  # of each model, in each search
LEAST_IDENTICAL = 0.995
SCORE_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-4  # of the root mean square of a row of logits

Pair = tuple[PreTrainedModel, Checkpoint]

each_family = pytest.mark.parametrize("name", FAMILIES)

# Besides widths that are odd anyway. `flipped` stands for what the family does not do by itself.
VARIANTS: dict[str, dict[str, Any]] = {
    "as-usual": {},
    "flipped": {"scale_embedding": "flipped", "tie_word_embeddings": "flipped"},
    "shards-of-float16": {"dtype": torch.float16, "shard_size": "20KB"},
    "bfloat16": {"dtype": torch.bfloat16, "d_model": 60, "activation_function": "swish"},
    "gelu_new": {"activation_function": "gelu_new", "encoder_layers": 3, "decoder_layers": 1},
    "quick_gelu": {"activation_function": "quick_gelu", "d_model": 30, "encoder_layers": 0},
    "tanh": {"activation_function": "tanh", "tie_word_embeddings": "flipped", "d_model": 75},
    "one-head": {
        "d_model": 37,
        "encoder_attention_heads": 1,
        "decoder_attention_heads": 37,
        "activation_function": "relu",
    },
}


def changes(name: str, variant: str) -> dict[str, Any]:
    values = VARIANTS[variant]
    defaults = FAMILIES[name].defaults
    usual = {
        "scale_embedding": defaults.get("scale_embedding", False),
        "tie_word_embeddings": name != "fsmt",
    }
    return {
        key: not usual[key] if isinstance(value, str) and value == "flipped" else value
        for key, value in values.items()
    }


def random_ids(rng: np.random.Generator, most: int, vocabulary: int) -> list[int]:
    """Ordinary tokens; padding, start and end have ids below 3."""
    return rng.integers(3, vocabulary, int(rng.integers(1, most + 1))).tolist()


@torch.inference_mode()
def expected_logits(model: PreTrainedModel, source: list[int], target: list[int]) -> np.ndarray:
    # FSMT hides what comes later only where it does not cache.
    output = model(
        input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]), use_cache=False
    )
    logits: np.ndarray = output.logits[0].numpy()
    return logits


@pytest.mark.parametrize("variant", VARIANTS)
@each_family
def test_logits(name: str, variant: str, tmp_path: Path) -> None:
    model = make_model(tmp_path, name, seed=len(variant), **changes(name, variant))
    checkpoint = load(tmp_path)
    engine, reference = make_engine(checkpoint), ReferenceModel(checkpoint)
    rng = np.random.default_rng(0)
    vocabulary = checkpoint.model.decoder.vocab_size
    for _ in range(3):
        source, target = (random_ids(rng, most, vocabulary) for most in (69, 40))
        expected = expected_logits(model, source, target)
        size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
        for found in (engine.logits(source, target), reference.logits(source, target)):
            assert (np.abs(found - expected) <= LOGIT_TOLERANCE * size).all()


def test_two_vocabularies(tmp_path: Path) -> None:
    model = make_model(tmp_path, "fsmt", src_vocab_size=90, tgt_vocab_size=55)
    engine = make_engine(load(tmp_path))
    rng = np.random.default_rng(1)
    source, target = random_ids(rng, 40, 90), random_ids(rng, 40, 55)
    expected = expected_logits(model, source, target)
    assert expected.shape[1] == 55
    np.testing.assert_allclose(engine.logits(source, target), expected, atol=1e-4)


@pytest.fixture(scope="module", params=["as-usual", "flipped-scale"])
def scaling(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=FAMILIES)
def lively(
    request: pytest.FixtureRequest, scaling: str, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    name = request.param
    scaled = FAMILIES[name].defaults.get("scale_embedding", False)
    path = tmp_path_factory.mktemp(name)
    model = make_model(
        path,
        name,
        seed=8,
        lively=True,
        vocab_size=VOCABULARY,
        d_model=48,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=3,
        encoder_ffn_dim=100,
        decoder_ffn_dim=96,
        scale_embedding=scaled if scaling == "as-usual" else not scaled,
    )
    return model, load(path)


def options_of(checkpoint: Checkpoint, model: PreTrainedModel, **values: Any) -> ReferenceOptions:
    """Those of the checkpoint, with which random models do not go round in circles."""
    generation = checkpoint.generation
    return ReferenceOptions(
        generation.decoder_start_token_id,
        end_ids=(generation.end_token_id,),
        forced_end_id=generation.forced_end_token_id,
        suppressed_ids=(model.config.pad_token_id,),
        max_decoding_length=20,
        min_decoding_length=3,
        no_repeat_ngram_size=2,
        **values,
    )


@pytest.mark.parametrize("beam_size", [1, 4])
def test_translations(lively: Pair, beam_size: int) -> None:
    model, checkpoint = lively
    engine = make_engine(checkpoint)
    end = checkpoint.generation.end_token_id
    rng = np.random.default_rng(7)
    sources = [[*random_ids(rng, 29, VOCABULARY), end] for _ in range(LINES)]
    options = options_of(checkpoint, model, beam_size=beam_size)
    ours, theirs = run(engine, sources, options), search(model, sources, options)
    same = 0
    for source, mine, others in zip(sources, ours, theirs, strict=True):
        (hypothesis,), ((ids, ended, score),) = plain(mine), others
        assert broken_rules(hypothesis, options, len(source)) == []
        if hypothesis.ids == ids:
            same += 1
            assert options.is_ended(hypothesis, len(source)) == ended
            if beam_size > 1:
                assert hypothesis.score == pytest.approx(score, abs=SCORE_TOLERANCE)
    assert same >= LEAST_IDENTICAL * LINES
    # Searches that all come to the same would prove nothing.
    found = {tuple(mine[0].ids) for mine in ours}
    assert len(found) > LINES / 3
    assert len({token for ids in found for token in ids}) > VOCABULARY / 4


# How far logits may be from those in float32, and how near they cannot be, by compute type.
DEVIATIONS = {"bfloat16": (1e-3, 2e-2), "int8": (4e-3, 6e-2)}


@pytest.mark.parametrize("compute_type", DEVIATIONS)
@each_family
def test_smaller_numbers(name: str, compute_type: str, tmp_path: Path) -> None:
    make_model(tmp_path, name, d_model=60, encoder_attention_heads=4)
    checkpoint = load(tmp_path)
    image = native.build_image(checkpoint, compute_type)
    smaller = _native.Engine(_native.Model.from_buffer(image, "smaller"), 1, 1)
    engine = make_engine(checkpoint)
    rng = np.random.default_rng(3)
    source, target = random_ids(rng, 60, 103), random_ids(rng, 60, 103)
    expected = engine.logits(source, target)
    errors = smaller.logits(source, target) - expected
    least, most = DEVIATIONS[compute_type]
    assert least <= np.sqrt((errors**2).mean() / (expected**2).mean()) <= most
