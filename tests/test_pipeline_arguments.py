"""Arguments of the pipeline: what they do, as in `generate`, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from checkpoints import MarianCheckpoint
from pipeline_cases import ONE, SHORT, TEXTS, generate
from pytransformer import InputLengthError, OptionError, Translator
from pytransformer.pipeline_arguments import checked, translator_options
from pytransformer.pipelines import TranslationPipeline, pipeline


@pytest.fixture(scope="module")
def translator(marian: MarianCheckpoint) -> Translator:
    return Translator(marian.path)


@pytest.fixture(scope="module")
def pipe(translator: Translator) -> TranslationPipeline:
    return pipeline("translation", translator, **SHORT)


def as_translator_options(translator: Translator, arguments: dict[str, Any]) -> dict[str, Any]:
    return translator_options(checked(arguments), translator.limits)


class TestGenerationArguments:
    @pytest.mark.parametrize(
        "options",
        [
            {"max_length": 3},
            {"max_length": 9},
            {"max_new_tokens": 8},
            {"max_new_tokens": 5, "max_length": 9},
            {"min_length": 10},
            {"min_new_tokens": 10},
            {"num_beams": 1},
            {"num_beams": 6, "num_return_sequences": 6},
            {"length_penalty": 3.0, "num_return_sequences": 4},
            {"early_stopping": True, "num_return_sequences": 4},
            {"eos_token_id": 79, "forced_eos_token_id": 79},
            {"eos_token_id": [0, 79]},
            {"repetition_penalty": 1.5},
            {"repetition_penalty": 1.5, "num_beams": 1},
            {"no_repeat_ngram_size": 2},
            {"bad_words_ids": [[79], [58, 58], [0]]},
            {"forced_bos_token_id": 29},
            {"do_sample": False, "use_cache": True, "pad_token_id": 105},
        ],
    )
    def test_are_those_of_generate(
        self, pipe: TranslationPipeline, marian: MarianCheckpoint, options: dict[str, Any]
    ) -> None:
        for text in TEXTS:
            expected = generate(marian, text, **{**SHORT, **options})
            found = pipe(text, return_tensors=True, **options)
            assert [record["translation_token_ids"].tolist() for record in found] == expected

    def test_of_a_call_win_over_the_pipelines(self, translator: Translator) -> None:
        pipe = pipeline("translation", translator, num_beams=1, max_new_tokens=3, min_length=2)
        direct = pipeline("translation", translator, num_beams=4, max_length=14)
        assert pipe(TEXTS, num_beams=4, max_length=14, min_new_tokens=0) == direct(TEXTS)
        assert pipe(TEXTS, num_beams=None) == pipe(TEXTS)

    def test_none_means_the_checkpoints(self, translator: Translator) -> None:
        found = pipeline("translation", translator, max_length=None)(ONE, num_beams=None)
        assert found == [{"translation_text": translator.translate(ONE)}]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"do_sample": True}, {"sampling_topk": 50, "beam_size": 1}),
            ({"do_sample": True, "top_k": 0, "num_beams": 2}, {"sampling_topk": 0, "beam_size": 2}),
            (
                {"do_sample": True, "top_p": 0.5, "temperature": 0.7},
                {
                    "sampling_topk": 50,
                    "sampling_topp": 0.5,
                    "sampling_temperature": 0.7,
                    "beam_size": 1,
                },
            ),
            ({"do_sample": False, "top_k": 3, "top_p": 0.5, "temperature": 0.7}, {}),
            ({"temperature": 0.7}, {}),
            ({"repetition_penalty": 1.2}, {"repetition_penalty": 1.2}),
            ({"no_repeat_ngram_size": 3}, {"no_repeat_ngram_size": 3}),
            ({"eos_token_id": [0, 79]}, {"end_token": (0, 79)}),
            ({"bad_words_ids": [[3], [2, 0]]}, {"bad_words_ids": ((3,), (2, 0))}),
            ({"forced_bos_token_id": 5}, {"forced_bos_token_id": 5}),
            ({"num_beam_groups": 2, "seed": 7}, {"num_beam_groups": 2, "seed": 7}),
            ({"batch_size": 8}, {"max_batch_size": 8}),
            ({"max_length": 10_000}, {"max_decoding_length": 63}),
            ({"truncation": True}, {"max_input_length": 63}),
            ({"truncation": "longest_first", "max_input_length": 9}, {"max_input_length": 9}),
            ({"truncation": False}, {}),
            ({"truncation": "do_not_truncate"}, {}),
        ],
    )
    def test_become_options_of_the_translator(
        self, translator: Translator, given: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        assert as_translator_options(translator, given) == expected

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"num_beans": 4}, r"no option num_beans \(did you mean num_beams\?\)"),
            ({"foo": None}, "no option foo"),
            ({"num_beams": 0, "max_length": "x"}, "num_beams is 0, .*; max_length is 'x', "),
            ({"num_beams": 4.0}, "num_beams is 4.0, expected an integer"),
            ({"num_return_sequences": 9}, "num_return_sequences is 9, more than num_beams, 4"),
            ({"do_sample": True, "num_return_sequences": 0}, "num_return_sequences is 0"),
            ({"max_length": 2}, "max_decoding_length is 0"),
            ({"min_length": 40}, "min_decoding_length is 39, more than max_decoding_length, 12"),
            ({"length_penalty": "x"}, "length_penalty is 'x', expected a number"),
            ({"early_stopping": "maybe"}, "early_stopping is 'maybe'"),
            ({"bad_words_ids": "a"}, "bad_words_ids is 'a', expected a list"),
            ({"bad_words_ids": [[]]}, "bad_words_ids is"),
            ({"bad_words_ids": [[100_000]]}, "bad_words_ids.* 100000"),
            ({"forced_bos_token_id": 100_000}, "100000"),
            ({"truncation": "only_second"}, "truncation is 'only_second', expected one of True"),
            ({"top_p": 1.5}, "top_p is 1.5"),
            ({"src_lang": 3}, "src_lang is 3, expected a string"),
            ({"generation_config": object()}, "no option generation_config"),
        ],
    )  # fmt: skip
    def test_wrong_ones_are_refused(
        self, pipe: TranslationPipeline, translator: Translator, wrong: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            pipe(ONE, **wrong)
        with pytest.raises(OptionError, match=message):
            pipeline("translation", translator, **{**SHORT, **wrong})

    def test_long_text_is_an_error_or_cut(self, pipe: TranslationPipeline) -> None:
        with pytest.raises(InputLengthError) as caught:
            pipe([ONE, "Hund " * 100])
        assert caught.value.index == 1
        (cut,) = pipe("Hund " * 100, truncation=True)
        assert pipe("Hund " * 63) == [cut]
