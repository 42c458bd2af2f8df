"""The same as transformers: logits on models of odd shapes, and searches token for token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MarianMTModel

import huggingface_peer as peer
from huggingface_models import END, random_marian
from huggingface_peer import Search
from pytransformer import _native
from random_models import run_search, sentences

# Of the root mean square of a row of logits.
LOGITS_TOLERANCE = 1e-4
SCORE_TOLERANCE = 1e-4

SHAPES: dict[str, dict[str, Any]] = {
    "d_model-20": {},
    "d_model-50": {
        "d_model": 50,
        "encoder_attention_heads": 5,
        "decoder_attention_heads": 5,
    },
    "head-size-20": {"encoder_attention_heads": 1, "decoder_attention_heads": 2},
    "many-rows-of-cache": {"d_model": 32, "decoder_layers": 1, "encoder_ffn_dim": 16},
    "no-scale": {"scale_embedding": False},
    "separate-vocabularies": {
        "share_encoder_decoder_embeddings": False,
        "decoder_vocab_size": 997,
    },
    "untied-output": {"tie_word_embeddings": False},
    "tiny-vocabulary": {"vocab_size": 5},
    "no-encoder-layers": {"encoder_layers": 0},
    "stored-positions": {"lively": True},
}


def assert_logits_agree(model: MarianMTModel, engine: _native.Engine, seed: int) -> None:
    """On sources of 1 to 60 tokens and on targets of 1 to 40."""
    rng = np.random.default_rng(seed)
    start = model.config.decoder_start_token_id
    for source in sentences(4, model.config.vocab_size, 1, 60, seed):
        length = int(rng.integers(0, 40))
        target = rng.integers(0, model.config.decoder_vocab_size, length).tolist()
        ours = engine.logits(source, [start, *target])
        with torch.inference_mode():
            theirs = model(
                input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[start, *target]])
            ).logits[0]
        expected = theirs.numpy()
        assert ours.shape == expected.shape
        size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
        assert np.abs(ours - expected).max() <= (LOGITS_TOLERANCE * size).min()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_of_odd_shapes(shape: str, tmp_path: Path) -> None:
    model, engine = random_marian(tmp_path, **SHAPES[shape])
    assert_logits_agree(model, engine, seed=1)


@pytest.mark.parametrize(
    "activation", ["relu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "swish"]
)
@pytest.mark.parametrize("d_model", [20, 50])
def test_logits_of_every_activation(activation: str, d_model: int, tmp_path: Path) -> None:
    heads = d_model // 10
    model, engine = random_marian(
        tmp_path,
        activation_function=activation,
        d_model=d_model,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
    )
    assert_logits_agree(model, engine, seed=2)


class Pair:
    """One lively model in both, and 16 sentences of 1 to 60 tokens."""

    def __init__(self, path: Path) -> None:
        self.model, self.engine = random_marian(
            path,
            lively=True,
            seed=3,
            vocab_size=61,
            d_model=48,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=3,
            decoder_attention_heads=3,
            encoder_ffn_dim=100,
            decoder_ffn_dim=100,
        )
        self.padding = self.model.config.pad_token_id
        self.judge = peer.in_double(self.model)
        self.sources = sentences(16, 61, 1, 60)

    def assert_same(self, search: Search) -> list[list[peer.Hypothesis]]:
        """Token for token and in score; whoever differs must be shown to tie."""
        ours = run_search(self.engine, self.sources, peer.engine_options(self.model, search))
        theirs = peer.generate(self.model, self.sources, search)
        found = peer.differences(self.judge, self.sources, ours, theirs, search)
        assert all(difference.gap <= SCORE_TOLERANCE for difference in found), found
        assert len(found) <= 0.02 * sum(map(len, ours)), found
        for source, mine, others in zip(self.sources, ours, theirs, strict=True):
            for (ids, own_score), (_, their_score) in zip(mine, others, strict=True):
                expected = (
                    peer.score(self.judge, source, ids, search)
                    if search.beam_size == 1
                    else their_score
                )
                assert own_score == pytest.approx(expected, abs=SCORE_TOLERANCE)
        return ours


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("lively"))


def test_searches_are_not_degenerate(pair: Pair) -> None:
    """What follows would prove little on a model that says the same to everything."""
    search = Search(beam_size=4, suppressed=(pair.padding,))
    ours = run_search(pair.engine, pair.sources, peer.engine_options(pair.model, search))
    best = [hypotheses[0][0] for hypotheses in ours]
    assert len({tuple(ids) for ids in best}) >= 12
    lengths = {len(ids) for ids in best}
    assert len(lengths) >= 4
    assert max(lengths) == search.max_length
    greedy = run_search(
        pair.engine,
        pair.sources,
        peer.engine_options(pair.model, Search(suppressed=(pair.padding,))),
    )
    assert sum(a[0][0] != b for a, b in zip(greedy, best, strict=True)) >= 6


@pytest.mark.parametrize("forced_end", [True, False])
@pytest.mark.parametrize("max_length", [1, 5, 30])
def test_greedy_search(pair: Pair, max_length: int, forced_end: bool) -> None:
    pair.assert_same(
        Search(max_length=max_length, forced_end=forced_end, suppressed=(pair.padding,))
    )


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-0.5, 0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("beam_size", [2, 4, 5])
def test_beam_search(
    pair: Pair, beam_size: int, length_penalty: float, early_stopping: Any
) -> None:
    pair.assert_same(
        Search(
            beam_size=beam_size,
            num_hypotheses=beam_size,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            suppressed=(pair.padding,),
        )
    )


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("forced_end", [True, False])
@pytest.mark.parametrize(("min_length", "max_length"), [(0, 1), (0, 3), (5, 8), (6, 6), (12, 30)])
def test_limits_of_length(
    pair: Pair, min_length: int, max_length: int, forced_end: bool, early_stopping: Any
) -> None:
    ours = pair.assert_same(
        Search(
            beam_size=4,
            num_hypotheses=3,
            early_stopping=early_stopping,
            min_length=min_length,
            max_length=max_length,
            forced_end=forced_end,
            suppressed=(pair.padding,),
        )
    )
    lengths = {len(ids) for hypotheses in ours for ids, _ in hypotheses}
    assert min(lengths) >= min_length
    assert max(lengths) == max_length


@pytest.mark.parametrize("beam_size", [1, 4])
def test_greedy_minimum_and_bad_words(pair: Pair, beam_size: int) -> None:
    """The words that the model likes best are forbidden, then the next ones come."""
    search = Search(beam_size=beam_size, suppressed=(pair.padding,), min_length=7)
    free = pair.assert_same(search)
    used = [token for hypotheses in free for token in hypotheses[0][0]]
    common = sorted(set(used), key=used.count)[-5:]
    bad = tuple(sorted({pair.padding, *common}))
    rest = pair.assert_same(
        Search(beam_size=beam_size, num_hypotheses=beam_size, suppressed=bad, min_length=7)
    )
    assert not {token for hypotheses in rest for ids, _ in hypotheses for token in ids} & set(bad)


def test_end_token_may_be_a_bad_word_of_the_engine(pair: Pair) -> None:
    """transformers ignores an end token among bad words; the engine does as it is told."""
    search = Search(beam_size=2, suppressed=(END, pair.padding), max_length=12)
    ours = run_search(pair.engine, pair.sources, peer.engine_options(pair.model, search))
    assert {len(hypotheses[0][0]) for hypotheses in ours} == {12}
    never_ending = Search(beam_size=2, suppressed=(pair.padding,), min_length=12, max_length=12)
    theirs = peer.generate(pair.model, pair.sources, never_ending)
    assert [h[0][0] for h in ours] == [h[0][0] for h in theirs]


def test_beams_as_wide_as_the_vocabulary(tmp_path: Path) -> None:
    """More candidates are wanted than there are tokens."""
    model, engine = random_marian(tmp_path, vocab_size=7, lively=True)
    pair_search = Search(beam_size=4, num_hypotheses=4, max_length=6, suppressed=(6,))
    sources = sentences(8, 7, 1, 20)
    ours = run_search(engine, sources, peer.engine_options(model, pair_search))
    theirs = peer.generate(model, sources, pair_search)
    found = peer.differences(peer.in_double(model), sources, ours, theirs, pair_search)
    assert all(difference.gap <= SCORE_TOLERANCE for difference in found), found
