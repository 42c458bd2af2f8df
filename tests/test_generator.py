"""GPT-2 through `Generator`: what follows a prompt is what transformers' `generate` gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    GPT2LMHeadModel,
    GPT2Tokenizer,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from huggingface_alone import END, close, corpus, make_gpt2
from pytransformer import GenerationResult, Generator
from test_decoding_huggingface import assert_drawn_from

LEAST_IDENTICAL = 0.995
SCORE_TOLERANCE = 1e-4
NEW_TOKENS = 24
COUNT = 240
LENGTHS = (1, 2, 5, 9, 17, 30, 44, 60)

SHAPES: dict[str, dict[str, Any]] = {
    "widths-45-180": {},
    "one-wide-head": {"n_embd": 20, "n_head": 1, "n_inner": 300},
    "narrow-heads": {"n_embd": 24, "n_head": 12, "n_inner": 7},
    "no-layers": {"n_layer": 0},
    "untied-output": {"tie_word_embeddings": False},
    "unscaled": {"scale_attn_weights": False},
    "scaled-by-layer": {"scale_attn_by_inverse_layer_idx": True},
    "epsilon": {"layer_norm_epsilon": 0.1},
    "relu": {"activation_function": "relu"},
    "gelu": {"activation_function": "gelu"},
}


class Pair:
    """One model and its tokenizer in both, and as many prompts of each of some lengths."""

    def __init__(self, path: Path, **config: Any) -> None:
        self.path = path
        self.model: GPT2LMHeadModel = make_gpt2(path, **config)
        self.tokenizer = GPT2Tokenizer.from_pretrained(path)
        self.generator = Generator(path)
        texts = " ".join(corpus())
        ids = self.tokenizer(texts).input_ids
        starts = np.random.default_rng(0).integers(0, len(ids) - max(LENGTHS), COUNT)
        self.prompts = [ids[i : i + LENGTHS[k % len(LENGTHS)]] for k, i in enumerate(starts)]

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=torch.tensor([list(ids)])).logits[0]
        return logits

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], **options: Any) -> Any:
        """What `generate` gives for prompts of the same length."""
        values = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": END, **options}
        ids = torch.tensor(prompts)
        return self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            return_dict_in_generate=True,
            output_scores=True,
            **values,
        )

    def ours(self, **options: Any) -> list[GenerationResult]:
        return self.generator.generate_batch(
            self.prompts, **{"max_decoding_length": NEW_TOKENS, "return_scores": True, **options}
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("gpt2"))


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_of_odd_shapes(shape: str, tmp_path: Path) -> None:
    pair = Pair(tmp_path, **SHAPES[shape])
    prompts = pair.prompts[:4]
    for ours, prompt in zip(pair.generator.forward_batch(prompts), prompts, strict=True):
        assert close(ours, pair.logits(prompt))


def tokens_of(sequence: torch.Tensor, length: int) -> list[int]:
    """What follows a prompt of that length, without the end token."""
    ids: list[int] = sequence.tolist()[length:]
    return ids[: ids.index(END)] if END in ids else ids


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "repetition_penalty": ({"repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
    "no_repeat_ngram_size": ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
    "least": ({"min_decoding_length": 9}, {"min_new_tokens": 9}),
    "bad_words": ({"bad_words_ids": [[270], [5, 6]]}, {"bad_words_ids": [[270], [5, 6]]}),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("beam_size", [1, 4])
def test_searches(pair: Pair, beam_size: int, name: str) -> None:
    ours, theirs = OPTIONS[name]
    found = pair.ours(beam_size=beam_size, **ours)
    same = 0
    for place, length in enumerate(LENGTHS):
        results = found[place :: len(LENGTHS)]
        prompts = pair.prompts[place :: len(LENGTHS)]
        output = pair.generate(prompts, num_beams=beam_size, **theirs)
        for i, result in enumerate(results):
            if result.ids[0] != tokens_of(output.sequences[i], length):
                continue
            same += 1
            if beam_size > 1:
                expected = float(output.sequences_scores[i])
                assert result.scores[0] == pytest.approx(expected, abs=SCORE_TOLERANCE)
    assert same >= LEAST_IDENTICAL * COUNT
    lengths = {len(result.ids[0]) for result in found}
    assert max(lengths) == NEW_TOKENS
    assert len(lengths) > 3, lengths
    assert len({tuple(result.ids[0]) for result in found}) > 0.8 * COUNT


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_lengths_do_not_count_the_prompt(
    pair: Pair, length_penalty: float, early_stopping: Any
) -> None:
    options = {"length_penalty": length_penalty, "early_stopping": early_stopping}
    found = pair.ours(beam_size=3, num_hypotheses=3, **options)
    same = 0
    for place, length in enumerate(LENGTHS[:4]):
        prompts = pair.prompts[place :: len(LENGTHS)]
        output = pair.generate(prompts, num_beams=3, num_return_sequences=3, **options)
        ids = [tokens_of(row, length) for row in output.sequences]
        for i, result in enumerate(found[place :: len(LENGTHS)]):
            same += result.ids == ids[3 * i : 3 * i + 3]
    assert same >= LEAST_IDENTICAL * COUNT / 2


def test_prompts_that_fill_the_positions(pair: Pair) -> None:
    """Generation ends where the positions do."""
    for length in (87, 88, 89):
        prompt = (pair.prompts[0] * 90)[:length]
        (result,) = pair.generator.generate_batch([prompt], min_decoding_length=40)
        room = 90 - length
        output = pair.generate([prompt], max_new_tokens=room, min_new_tokens=room)
        assert result.ids[0] == output.sequences[0].tolist()[length:]
        assert result.finish_reasons == ["length"]


SAMPLING: dict[str, dict[str, Any]] = {
    "whole-vocabulary": {"sampling_topk": 0},
    "topk": {"sampling_topk": 7, "sampling_temperature": 1.3},
    "topp": {"sampling_topk": 0, "sampling_topp": 0.8, "sampling_temperature": 1.5},
}


@pytest.mark.parametrize("name", SAMPLING)
def test_chances(pair: Pair, name: str) -> None:
    """First tokens behind a prompt, and second ones, are drawn as they should."""
    options = SAMPLING[name]
    prompt = pair.prompts[3]
    processors = LogitsProcessorList(
        [
            TemperatureLogitsWarper(options.get("sampling_temperature", 1.0)),
            TopKLogitsWarper(options["sampling_topk"] or pair.model.config.vocab_size),
            TopPLogitsWarper(options.get("sampling_topp", 1.0)),
        ]
    )

    def chances(ids: list[int]) -> Any:
        return (
            processors(torch.tensor([ids]), pair.logits(ids)[-1:]).softmax(-1)[0].double().numpy()
        )

    found = [
        ids
        for seed in range(8)
        for ids in pair.generator.generate_batch(
            [prompt],
            max_decoding_length=2,
            num_hypotheses=1024,
            return_end_token=True,
            seed=seed,
            **options,
        )[0].ids
    ]
    firsts = Counter(ids[0] for ids in found)
    assert_drawn_from(firsts, chances(prompt))
    first = next(token for token, _ in firsts.most_common() if token != END)
    seconds = Counter(ids[1] for ids in found if ids[0] == first)
    assert_drawn_from(seconds, chances([*prompt, first]))


def test_results_depend_on_nothing_else(pair: Pair) -> None:
    """The same alone and in batches of any size, among prompts that wait for their turn."""
    options: dict[str, Any] = {"return_scores": True, "max_decoding_length": NEW_TOKENS}
    expected = [pair.generator.generate_batch([one], **options)[0] for one in pair.prompts]
    others = [Generator(pair.path, intra_threads=2), Generator(pair.path, inter_threads=2)]
    for generator in (pair.generator, *others):
        for size in (0, 1, 5, 200):
            assert (
                generator.generate_batch(pair.prompts, max_batch_size=size, **options) == expected
            )
    by_tokens = {"batch_type": "tokens", "max_batch_size": 300}
    assert pair.generator.generate_batch(pair.prompts, **by_tokens, **options) == expected


def test_scores_of_texts(pair: Pair) -> None:
    scored = pair.generator.score_batch(pair.prompts)
    for ids, result in zip(pair.prompts, scored, strict=True):
        chances = pair.logits(ids).log_softmax(-1)
        expected = [float(chances[i, token]) for i, token in enumerate(ids[1:])]
        assert result.ids == ids[1:]
        assert result.log_probs == pytest.approx(expected, abs=SCORE_TOLERANCE)


def test_scores_are_those_of_a_search(pair: Pair) -> None:
    """Bit for bit: a search looks at few of the rows that scoring looks at."""
    found = pair.ours(return_end_token=True)
    whole = [[*prompt, *result.ids[0]] for prompt, result in zip(pair.prompts, found, strict=True)]
    scored = pair.generator.score_batch(whole)
    for prompt, result, score in zip(pair.prompts, found, scored, strict=True):
        assert score.log_probs[len(prompt) - 1 :] == result.log_probs[0]


def test_logits_at_each_step(pair: Pair) -> None:
    found = pair.ours(return_logits_vocab=True, return_end_token=True)[:10]
    for prompt, result in zip(pair.prompts, found, strict=False):
        ids = [*prompt, *result.ids[0]]
        expected = pair.logits(ids[:-1]).log_softmax(-1)[len(prompt) - 1 :]
        assert close(result.logits[0], expected)


@pytest.mark.parametrize(("compute_type", "least"), [("bfloat16", 0.9), ("int8", 0.8)])
def test_smaller_formats_are_close(pair: Pair, compute_type: str, least: float) -> None:
    """Where the ways have not parted yet, most tokens are the same."""
    generator = Generator(pair.path, compute_type=compute_type)
    assert generator.compute_type == compute_type
    exact = [result.ids[0][:1] for result in pair.ours()]
    found = generator.generate_batch(pair.prompts, max_decoding_length=NEW_TOKENS)
    firsts = [result.ids[0][:1] for result in found]
    assert sum(a == b for a, b in zip(firsts, exact, strict=True)) >= least * len(exact)
