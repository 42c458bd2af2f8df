"""Given translations are scored as a search scores them."""

from __future__ import annotations

from typing import Any

import pytest

from bundled import GERMAN, bundled_model
from pytransformer import InputLengthError, OptionError, ScoringResult, Translator


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


@pytest.fixture(scope="module")
def tokens(translator: Translator) -> list[list[str]]:
    return [translator.tokenizer.encode(text, tgt_lang="en") for text in GERMAN]


class TestScores:
    @pytest.mark.parametrize("beam_size", [1, 4])
    @pytest.mark.parametrize("prefix", [None, ["▁The", "▁big"]])
    def test_are_those_of_the_search(
        self,
        translator: Translator,
        tokens: list[list[str]],
        beam_size: int,
        prefix: list[str] | None,
    ) -> None:
        found = translator.translate_batch(
            tokens, [prefix] * len(tokens), beam_size=beam_size, return_scores=True
        )
        targets = [result.hypotheses[0] for result in found]
        length = len(prefix or [])
        for size in (0, 1, 5):
            scored = translator.score_batch(tokens, targets, max_batch_size=size)
            assert [one.log_probs[length:] for one in scored] == [
                result.log_probs[0] for result in found
            ]
            assert all(
                one.tokens[:-1] == target for one, target in zip(scored, targets, strict=True)
            )
            assert all(one.tokens[-1] == "</s>" for one in scored)

    def test_offset_leaves_tokens_out(
        self, translator: Translator, tokens: list[list[str]]
    ) -> None:
        target = translator.translate_batch(tokens[:1])[0].hypotheses[0]
        (whole,) = translator.score_batch(tokens[:1], [target])
        for offset in (1, 3, len(target) + 1, 10**6):
            (rest,) = translator.score_batch(tokens[:1], [target], offset=offset)
            assert rest == ScoringResult(
                whole.tokens[offset:], whole.log_probs[offset:], whole.ids[offset:]
            )
            assert rest.score == sum(rest.log_probs)
        assert whole.normalized_score == pytest.approx(whole.score / len(whole.tokens))
        assert (
            next(translator.score_iterable(tokens[:1], [target], offset=3)).tokens
            == (whole.tokens[3:])
        )

    def test_end_token_is_added_once(self, translator: Translator) -> None:
        target = ["▁A", "▁dog"]
        assert translator.score_batch([["▁der"]], [target]) == translator.score_batch(
            [["▁der", "</s>"]], [[*target, "</s>"]]
        )

    def test_empty_sentences_have_scores(self, translator: Translator) -> None:
        first, second = translator.score_batch([[], ["▁der"]], [["▁A"], []])
        assert len(first.log_probs) == 2
        assert second.tokens == ["</s>"]
        assert translator.score_batch([], []) == []

    def test_asynchronous(self, translator: Translator, tokens: list[list[str]]) -> None:
        targets = [["▁The"]] * len(tokens)
        pending = translator.score_batch(tokens, targets, asynchronous=True, offset=1)
        expected = translator.score_batch(tokens, targets, offset=1)
        assert [one.result() for one in pending] == expected

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_wrong_arguments(self, translator: Translator, asynchronous: bool) -> None:
        def score(source: Any, target: Any, **options: Any) -> None:
            translator.score_batch(source, target, asynchronous=asynchronous, **options)

        with pytest.raises(OptionError, match="there are 2 targets for 1 sources"):
            score([["▁der"]], [["▁A"], ["▁A"]])
        with pytest.raises(OptionError, match="offset is -1, expected an integer"):
            score([], [], offset=-1)
        with pytest.raises(OptionError, match="offset is None"):
            score([], [], offset=None)
        with pytest.raises(TypeError, match="target 1 is str"):
            score([["▁der"]] * 2, [["▁A"], "A"])
        with pytest.raises(InputLengthError, match="input 1 has 601"):
            score([["▁der"], ["▁der"] * 600], [["▁A"]] * 2)
        with pytest.raises(OptionError, match="target 1 has 600 tokens"):
            score([["▁der"]] * 2, [["▁A"], ["▁A"] * 599])
