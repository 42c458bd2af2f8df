"""Sentences as tokens and as ids, whole and token by token: all doors give the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bundled import GERMAN, bundled_model
from checkpoints import MarianCheckpoint
from pytransformer import (
    GenerationStepResult,
    InputLengthError,
    OptionError,
    Translator,
)

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SCORED = {"beam_size": 3, "return_scores": True}


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


@pytest.fixture(scope="module")
def small(marian: MarianCheckpoint) -> Translator:
    """Its positions reach 64 tokens."""
    return Translator(marian.path)


@pytest.fixture(scope="module")
def tokens(translator: Translator) -> list[list[str]]:
    return [translator.tokenizer.encode(text, tgt_lang="en") for text in GERMAN]


class TestIds:
    @pytest.mark.parametrize("kind", INTEGERS)
    def test_numpy_arrays_are_as_good_as_tokens(self, small: Translator, kind: str) -> None:
        sentences = [["▁der", "▁Hund"], ["▁und"]]
        ids = [small.tokenizer.source_ids(sentence) for sentence in sentences]
        expected = small.translate_batch(sentences, return_scores=True)
        arrays = [np.array(sentence, kind) for sentence in ids]
        assert small.translate_batch(arrays, return_scores=True) == expected
        assert small.translate_batch([list(array) for array in arrays], return_scores=True) == (
            expected
        )

    def test_lists_tuples_and_rows_of_an_array(self, translator: Translator) -> None:
        ids = translator.tokenizer.encode_ids(GERMAN[0], tgt_lang="en")
        expected = translator.translate_batch([ids] * 2, **SCORED)
        assert translator.translate_batch([tuple(ids), ids[:-1]], **SCORED) == expected
        assert translator.translate_batch(np.array([ids, ids]), **SCORED) == expected
        text = translator.translate(GERMAN[0], tgt_lang="en", beam_size=3)
        assert translator.tokenizer.decode(expected[0].ids[0]) == text

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ([[1], [2, "x"]], r"source 1 holds both tokens and ids, expected lists of tokens"),
            ([[1, True]], "source 0 holds bool"),
            ([[1.0]], "source 0 holds float"),
            ([np.array([1.5])], "source 0 holds float"),
            ([np.array([True])], "source 0 holds bool"),
            ([np.array(3)], "source 0 is int"),
            ([[[1]]], "source 0 holds list"),
            ([{1: 2}], "source 0 is dict"),
            (7, "source is int"),
        ],
    )
    def test_wrong_types(self, translator: Translator, wrong: Any, message: str) -> None:
        for call in (translator.translate_batch, lambda s: list(translator.translate_iterable(s))):
            with pytest.raises(TypeError, match=message):
                call(wrong)

    @pytest.mark.parametrize("wrong", [-1, 10**6, 2**40])
    def test_ids_that_the_vocabulary_lacks(self, translator: Translator, wrong: int) -> None:
        with pytest.raises(OptionError, match=rf"source 1 holds the id {wrong}, expected 0 to"):
            translator.translate_batch([[1], [1, wrong]])
        with pytest.raises(OptionError, match=rf"target_prefix 0 holds the id {wrong}"):
            translator.translate_batch([[1]], [[wrong]])


class TestPrefixes:
    def test_results_begin_with_them(self, translator: Translator, tokens: list[list[str]]) -> None:
        wanted = translator.tokenizer.encode_target("The")
        found = translator.translate_batch(tokens[:3], [wanted, None, []])
        free = translator.translate_batch(tokens[:3])
        assert found[0].hypotheses[0][: len(wanted)] == wanted
        assert found[1:] == free[1:]
        ids = translator.tokenizer.target_ids(wanted)
        assert translator.translate_batch(tokens[:1], [np.array(ids)]) == found[:1]

    def test_text(self, translator: Translator) -> None:
        text = f"{GERMAN[0]}\n\n{GERMAN[1]}"
        found = translator.translate(text, tgt_lang="en", target_prefix="The big").split("\n")
        assert all(line.startswith("The big") for line in found[::2])
        assert found[1] == ""
        assert translator.translate(GERMAN[0], tgt_lang="en", target_prefix="") == (
            translator.translate(GERMAN[0], tgt_lang="en")
        )

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_one_for_each_sentence(self, translator: Translator, count: int) -> None:
        with pytest.raises(OptionError, match=rf"target_prefix has {count} prefixes for 2"):
            translator.translate_batch([["▁der"]] * 2, [["▁the"]] * count)

    def test_wrong_ones(self, translator: Translator) -> None:
        for wrong in ("the", b"the", 3):
            with pytest.raises(TypeError, match="target_prefix is"):
                translator.translate_batch([["▁der"]], wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="target_prefix is"):
                translator.translate_iterable([["▁der"]], wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="target_prefix is list, expected a string"):
            translator.translate("der", target_prefix=["The"])
        with pytest.raises(OptionError, match=r"target_prefix 1 has 5 tokens.*max_decoding_length"):
            translator.translate_batch([["▁der"]] * 2, [None, ["▁the"] * 5], max_decoding_length=5)


class TestGenerateTokens:
    @pytest.mark.parametrize("beam_size", [1, 2, 4])
    def test_equals_translate_batch(
        self, translator: Translator, tokens: list[list[str]], beam_size: int
    ) -> None:
        for source in tokens:
            (expected,) = translator.translate_batch(
                [source], beam_size=beam_size, return_scores=True
            )
            steps = list(
                translator.generate_tokens(source, beam_size=beam_size, return_log_prob=True)
            )
            assert [step.token for step in steps] == expected.hypotheses[0]
            assert [step.token_id for step in steps] == expected.ids[0]
            assert [step.step for step in steps] == list(range(len(steps)))
            assert [step.log_prob for step in steps] == expected.log_probs[0][: len(steps)]
            assert {(step.batch_id, step.hypothesis_id) for step in steps} <= {(0, 0)}

    def test_prefix_is_not_told_of(self, translator: Translator, tokens: list[list[str]]) -> None:
        prefix = ["▁The", "▁big"]
        steps = list(translator.generate_tokens(tokens[0], prefix, beam_size=1))
        (expected,) = translator.translate_batch(tokens[:1], [prefix], beam_size=1)
        assert prefix + [step.token for step in steps] == expected.hypotheses[0]
        assert steps[0].step == 2
        assert steps[0].log_prob is None

    def test_last_is_known_where_the_length_ends_it(
        self, translator: Translator, tokens: list[list[str]]
    ) -> None:
        steps = list(translator.generate_tokens(tokens[1], beam_size=1, max_decoding_length=3))
        assert [step.is_last for step in steps] == [False, False, True]

    def test_closing_ends_the_search(self, translator: Translator) -> None:
        for taken in range(3):
            steps = translator.generate_tokens(["▁der"], min_decoding_length=500, beam_size=1)
            for _ in range(taken):
                next(steps)
            steps.close()  # type: ignore[attr-defined]
            assert list(steps) == []

    def test_no_tokens(self, translator: Translator) -> None:
        assert list(translator.generate_tokens([])) == []

    def test_wrong_arguments_at_once(self, translator: Translator) -> None:
        with pytest.raises(OptionError, match="beam_size"):
            translator.generate_tokens(["▁der"], beam_size=0)
        with pytest.raises(TypeError, match="source 0 is str"):
            translator.generate_tokens("der")


class TestCallback:
    def test_is_told_of_each_token(self, translator: Translator, tokens: list[list[str]]) -> None:
        steps: list[GenerationStepResult] = []

        def keep(step: GenerationStepResult) -> bool:
            steps.append(step)
            return False

        sources = [*tokens[:3], [], tokens[3]]
        found = translator.translate_batch(sources, beam_size=1, return_scores=True, callback=keep)
        assert found == translator.translate_batch(sources, beam_size=1, return_scores=True)
        for index, result in enumerate(found):
            own = [step for step in steps if step.batch_id == index]
            assert [step.token for step in own] == result.hypotheses[0]
            assert [step.log_prob for step in own] == result.log_probs[0][: len(own)]

    @pytest.mark.parametrize("prefix", [None, ["▁The"]])
    @pytest.mark.parametrize("length_penalty", [0.0, 1.0, 0.6])
    def test_true_ends_a_sentence_after_its_token(
        self,
        translator: Translator,
        tokens: list[list[str]],
        prefix: list[str] | None,
        length_penalty: float,
    ) -> None:
        options: Any = {
            "beam_size": 1,
            "return_scores": True,
            "return_attention": True,
            "return_logits_vocab": True,
            "length_penalty": length_penalty,
        }
        skipped = len(prefix or [])
        free = translator.translate_batch(tokens, [prefix] * len(tokens), **options)
        # However far the engine was ahead: the result is the same each time.
        for _ in range(5):
            found = translator.translate_batch(
                tokens,
                [prefix] * len(tokens),
                callback=lambda step: step.batch_id % 2 == 0 and step.step == 2,
                **options,
            )
            for index, (one, whole) in enumerate(zip(found, free, strict=True)):
                if index % 2:
                    assert one.ids == whole.ids
                    assert one.scores == whole.scores
                    continue
                assert one.ids[0] == whole.ids[0][:3]
                assert one.log_probs[0] == whole.log_probs[0][: 3 - skipped]
                assert one.finish_reasons == ["stop"]
                total = sum(one.log_probs[0]) / (3 - skipped) ** length_penalty
                assert one.scores[0] == pytest.approx(total, rel=1e-6)
                assert one.attention[0].shape[0] == 3
                assert one.logits[0].shape[0] == 3 - skipped

    def test_errors_end_the_search(self, translator: Translator) -> None:
        def fail(step: GenerationStepResult) -> bool:
            raise KeyError(step.token)

        for _ in range(3):
            with pytest.raises(KeyError):
                translator.translate_batch(
                    [["▁der"]] * 200, beam_size=1, min_decoding_length=400, callback=fail
                )
        assert translator.translate_batch([["▁der"]])

    def test_needs_greedy_search(self, translator: Translator) -> None:
        with pytest.raises(OptionError, match="callback needs beam_size 1, not 2"):
            translator.translate_batch([["▁der"]], beam_size=2, callback=lambda step: False)
        with pytest.raises(OptionError, match="callback does not go with asynchronous"):
            translator.translate_batch([], callback=lambda step: False, asynchronous=True)
        with pytest.raises(TypeError, match="callback is int"):
            translator.translate_batch([], beam_size=1, callback=3)  # type: ignore[arg-type]


class TestEncode:
    def test_forms_of_a_source(self, translator: Translator, tokens: list[list[str]]) -> None:
        states = translator.encode(GERMAN[0], tgt_lang="en")
        assert states.dtype == np.float32
        assert states.shape == (len(tokens[0]) + 1, translator._model.spec.encoder.d_model)
        ids = translator.tokenizer.source_ids(tokens[0])
        for same in (tokens[0], [*tokens[0], "</s>"], ids, np.array(ids, np.uint16)):
            assert np.array_equal(translator.encode(same), states)
        assert not np.array_equal(translator.encode(GERMAN[0], tgt_lang="de"), states)

    def test_wrong_sources(self, translator: Translator) -> None:
        with pytest.raises(InputLengthError, match="has 601 tokens"):
            translator.encode(["▁der"] * 600)
        with pytest.raises(OptionError, match="'xx'"):
            translator.encode("Hund", tgt_lang="xx")
        with pytest.raises(ValueError, match="surrogate"):
            translator.encode("\ud800")
        with pytest.raises(TypeError, match="source 0 is NoneType"):
            translator.encode(None)


class TestAttention:
    @pytest.mark.parametrize("text", GERMAN[:4])
    def test_mean_is_what_a_search_returns(self, translator: Translator, text: str) -> None:
        maps = translator.attention(text, tgt_lang="en", beam_size=2)
        (result,) = translator.translate_batch(
            [translator.tokenizer.encode(text, tgt_lang="en")], beam_size=2, return_attention=True
        )
        assert maps.target_tokens == [*result.hypotheses[0], "</s>"]
        assert maps.source_tokens[-1] == "</s>"
        mean = maps.cross[-1].mean(axis=0)[:-1]
        np.testing.assert_allclose(result.attention[0], mean, atol=1e-5)

    def test_given_translation(self, translator: Translator) -> None:
        maps = translator.attention(GERMAN[0], target="A dog.", tgt_lang="en")
        wanted = translator.tokenizer.encode_target("A dog.")
        assert maps.target_tokens == [*wanted, "</s>"]
        np.testing.assert_allclose(maps.cross.sum(axis=-1), 1, atol=1e-4)

    def test_lengths(self, translator: Translator) -> None:
        short = translator.attention(GERMAN[0], tgt_lang="en", max_decoding_length=2)
        assert len(short.target_tokens) == 2
        cut = translator.attention("Hund " * 700, tgt_lang="en", max_input_length=5)
        assert len(cut.source_tokens) == 6
        with pytest.raises(InputLengthError):
            translator.attention("Hund " * 700, target="dog", tgt_lang="en")
