"""The translator: what goes in, what comes out, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import pytransformer
from checkpoints import MarianCheckpoint, make_marian
from pytransformer import (
    InputLengthError,
    OptionError,
    TranslationResult,
    Translator,
    _native,
    loaders,
    native,
)

SENTENCE = "Der Hund läuft im Schnee."


@pytest.fixture(scope="module")
def translator(marian: MarianCheckpoint) -> Translator:
    return Translator(marian.path)


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    path = tmp_path_factory.mktemp("multilingual")
    return Translator(make_marian(path, languages=("de", "en", "fr")).path)


def generate(marian: MarianCheckpoint, texts: list[str], **options: Any) -> list[str]:
    batch = marian.tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        ids = marian.model.generate(**batch, **options)
    return marian.tokenizer.batch_decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_translations_are_those_of_hugging_face(
    translator: Translator, marian: MarianCheckpoint, beam_size: int
) -> None:
    texts = [SENTENCE, "Zwei Leute.", "Ein Kind spielt mit dem Ball und springt auf das Haus."]
    expected = generate(marian, texts, num_beams=beam_size, max_length=20)
    # max_length counts the start token, and the end token that is forced at the limit.
    found = translator.translate(texts, beam_size=beam_size, max_decoding_length=18)
    assert found == [text.strip() for text in expected]


class TestTranslate:
    def test_string_gives_a_string_and_list_a_list(self, translator: Translator) -> None:
        text = translator.translate(SENTENCE)
        assert isinstance(text, str)
        assert translator.translate([SENTENCE]) == [text]
        assert translator.translate(iter([SENTENCE, SENTENCE])) == [text, text]
        assert translator.translate([]) == []

    def test_empty_lines_order_and_number_stay(self, translator: Translator) -> None:
        texts = ["", SENTENCE, "  \t ", "Zwei Leute.", "\u00a0", ""]
        found = translator.translate(texts)
        alone = [translator.translate("Zwei Leute."), translator.translate(SENTENCE)]
        assert found == ["", alone[1], "", alone[0], "", ""]

    def test_newlines_within_a_text_stay(self, translator: Translator) -> None:
        text = f"{SENTENCE}\n\nZwei Leute.\r\n"
        first, second = translator.translate([SENTENCE, "Zwei Leute."])
        assert translator.translate(text) == f"{first}\n\n{second}\r\n"

    @pytest.mark.parametrize("odd", ["\0", "a\0b", "\x85", "\u2028", "\ufeff", "🙂", "א", "\x0b"])
    def test_odd_characters_pass(self, translator: Translator, odd: str) -> None:
        found = translator.translate([odd, SENTENCE])
        assert found[1] == translator.translate(SENTENCE)
        assert "\n" not in found[0]

    @pytest.mark.parametrize(
        "wrong", [None, b"Hund", bytearray(b"Hund"), 3, [None], [SENTENCE, b""]]
    )
    def test_what_is_no_text_is_refused(self, translator: Translator, wrong: Any) -> None:
        with pytest.raises(TypeError, match="expected a string or strings"):
            translator.translate(wrong)

    def test_lone_surrogate_is_refused(self, translator: Translator) -> None:
        with pytest.raises(ValueError, match=r"text 1 holds the lone surrogate U\+D83D at .* 2"):
            translator.translate([SENTENCE, "ab\ud83d"])

    def test_language_is_chosen_by_prefix_or_argument(self, multilingual: Translator) -> None:
        assert set(multilingual.target_languages) == {"de", "en", "fr"}
        by_language = {
            lang: multilingual.translate(SENTENCE, tgt_lang=lang)
            for lang in multilingual.target_languages
        }
        assert len(set(by_language.values())) > 1
        for lang, text in by_language.items():
            assert multilingual.translate(f">>{lang}<< {SENTENCE}") == text
        assert multilingual.translate(["", " "], tgt_lang="en") == ["", ""]

    def test_unknown_language_is_refused(self, multilingual: Translator) -> None:
        for texts in (SENTENCE, []):
            with pytest.raises(OptionError, match=r"'xx'.*de, en, fr"):
                multilingual.translate(texts, tgt_lang="xx")

    @pytest.mark.parametrize("name", ["src_lang", "tgt_lang"])
    @pytest.mark.parametrize("wrong", [3, ["en"], b"en"])
    def test_language_that_is_no_text(
        self, multilingual: Translator, name: str, wrong: Any
    ) -> None:
        with pytest.raises(TypeError, match=f"{name} is .*, expected a string"):
            multilingual.translate(SENTENCE, **{name: wrong})


class TestTranslateBatch:
    def test_result_holds_tokens_and_scores(self, translator: Translator) -> None:
        tokens = ["▁der", "▁Hund"]
        (result,) = translator.translate_batch(
            [tokens], beam_size=4, num_hypotheses=3, return_scores=True
        )
        assert isinstance(result, TranslationResult)
        assert len(result.hypotheses) == 3
        assert result.scores == sorted(result.scores, reverse=True)
        assert all(isinstance(score, float) and score <= 0 for score in result.scores)
        specials = {"</s>", "<pad>"}
        assert not any(specials.intersection(tokens) for tokens in result.hypotheses)

    def test_scores_are_empty_unless_asked_for(self, translator: Translator) -> None:
        assert translator.translate_batch([["▁der"]])[0].scores == []

    def test_end_token_is_added_once(self, translator: Translator) -> None:
        tokens = ["▁der", "▁Hund"]
        assert translator.translate_batch([tokens]) == translator.translate_batch(
            [[*tokens, "</s>"]]
        )

    def test_unknown_tokens_become_unk(self, translator: Translator) -> None:
        unknown = translator.translate_batch([["▁der", "▁nowhere"]], return_scores=True)
        assert unknown == translator.translate_batch([["▁der", "<unk>"]], return_scores=True)

    @pytest.mark.parametrize("empty", [[], ["</s>"]])
    def test_no_tokens_give_empty_hypotheses(
        self, translator: Translator, empty: list[str]
    ) -> None:
        found = translator.translate_batch(
            [empty, ["▁der"]], beam_size=2, num_hypotheses=2, return_scores=True
        )
        assert found[0] == TranslationResult(
            [[], []],
            [0.0, 0.0],
            ids=[[], []],
            log_probs=[[], []],
            finish_reasons=["end", "end"],
        )
        assert found[1].hypotheses[0]

    def test_results_keep_the_order(self, translator: Translator) -> None:
        sources = [["▁der"] * n for n in (5, 1, 9, 3, 7)]
        alone = [translator.translate_batch([source], return_scores=True)[0] for source in sources]
        for size in (1, 2, 64):
            together = translator.translate_batch(sources, max_batch_size=size, return_scores=True)
            assert together == alone
        by_tokens = translator.translate_batch(
            sources, max_batch_size=10, batch_type="tokens", return_scores=True
        )
        assert by_tokens == alone

    def test_end_token_may_be_chosen(self, translator: Translator) -> None:
        (whole,) = translator.translate_batch([["▁der", "▁Hund"]], beam_size=1)
        tokens = whole.hypotheses[0]
        assert tokens
        (ended,) = translator.translate_batch([["▁der", "▁Hund"]], beam_size=1, end_token=tokens[0])
        assert ended.hypotheses == [[]]

    def test_lengths_are_kept(self, translator: Translator) -> None:
        (result,) = translator.translate_batch(
            [["▁der"]], beam_size=3, num_hypotheses=3, min_decoding_length=6, max_decoding_length=7
        )
        assert {len(tokens) for tokens in result.hypotheses} <= {6, 7}

    @pytest.mark.parametrize(
        "wrong",
        [None, "der Hund", ["der Hund"], [b"der"], [None], [["▁der", 2]], [["▁der", None]], [3]],
    )
    def test_what_is_no_list_of_tokens_is_refused(self, translator: Translator, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"expected lists of tokens \(str\)"):
            translator.translate_batch(wrong)

    def test_wrong_options_are_refused_before_the_source_is_read(
        self, translator: Translator
    ) -> None:
        def never() -> Iterator[list[str]]:
            raise AssertionError
            yield []

        with pytest.raises(OptionError, match="beam_size is 0"):
            translator.translate_batch(never(), beam_size=0)
        with pytest.raises(OptionError, match=r"no option beam_sise \(did you mean beam_size\?\)"):
            translator.translate_batch(never(), beam_sise=4)


class TestLongInput:
    """The checkpoint's positions reach 64 tokens, the end token included."""

    def test_is_an_error_that_says_which_and_what_to_do(self, translator: Translator) -> None:
        with pytest.raises(
            InputLengthError, match=r"input 1 has 65 tokens.* 64 .*max_input_length"
        ) as caught:
            translator.translate_batch([["▁der"], ["▁der"] * 64])
        assert caught.value.index == 1
        with pytest.raises(InputLengthError, match="input 2 has"):
            translator.translate(["Hund", "Hund", "Hund " * 100])

    def test_fits_up_to_the_limit(self, translator: Translator) -> None:
        assert translator.translate_batch([["▁der"] * 63])[0].hypotheses

    def test_is_cut_where_asked(self, translator: Translator) -> None:
        tokens = ["▁der", "▁Hund", "▁und"] * 40
        for end in ([], ["</s>"]):
            cut = translator.translate_batch(
                [tokens + end], max_input_length=10, return_scores=True
            )
            assert cut == translator.translate_batch([tokens[:10]], return_scores=True)
        assert translator.translate("Hund " * 100, max_input_length=63)

    def test_is_still_an_error_where_the_cut_is_too_far(self, translator: Translator) -> None:
        with pytest.raises(InputLengthError):
            translator.translate_batch([["▁der"] * 100], max_input_length=64)


class TestConstruction:
    def test_properties(self, translator: Translator, marian: MarianCheckpoint) -> None:
        assert translator.family == "marian"
        assert translator.compute_type == "float32"
        assert translator.model_path == str(marian.path)
        assert translator.num_parameters >= marian.model.num_parameters() // 2
        assert translator.inter_threads == 1
        assert translator.intra_threads >= 1
        assert translator.isa in _native.supported_isas()
        assert repr(str(marian.path)) in repr(translator)

    @pytest.mark.parametrize(
        ("compute_type", "expected"),
        [
            ("default", "float32"),
            ("auto", "int8"),
            ("float32", "float32"),
            ("bfloat16", "bfloat16"),
            ("int8", "int8"),
            ("int8_float32", "int8"),
            ("int8_float16", "int8"),
            ("int8_bfloat16", "int8"),
            ("int4", "int4"),
        ],
    )
    def test_compute_types(
        self, marian: MarianCheckpoint, compute_type: str, expected: str
    ) -> None:
        translator = Translator(marian.path, compute_type=compute_type)
        assert translator.compute_type == expected
        assert f"compute_type={expected!r}" in repr(translator)
        assert translator.translate(SENTENCE)

    @pytest.mark.parametrize("stored", ["float32", "bfloat16", "int8", "int4"])
    def test_compute_types_of_native_files(
        self, marian: MarianCheckpoint, stored: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "model.safetensors"
        native.write(loaders.load(marian.path), path, stored)
        from_checkpoint = Translator(marian.path, compute_type=stored)
        translator = Translator(path)
        assert translator.compute_type == stored
        assert translator.translate(SENTENCE) == from_checkpoint.translate(SENTENCE)
        for compute_type in ("float32", "bfloat16", "int8", "int4"):
            other = Translator(path, compute_type=compute_type)
            assert other.compute_type == compute_type
            assert other.translate(SENTENCE)
        fastest = Translator(path, compute_type="auto").compute_type
        assert fastest == ("int4" if stored == "int4" else "int8")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"compute_type": "int3"}, "compute_type is 'int3', expected one of .*'float32'"),
            ({"compute_type": "float16"}, "compute_type is 'float16', expected .*'bfloat16'"),
            ({"compute_type": "int16"}, "compute_type is 'int16', expected .*'int4'"),
            ({"compute_type": None}, "compute_type"),
            ({"inter_threads": 0}, "inter_threads is 0, expected an integer from 1"),
            ({"intra_threads": -1}, "intra_threads is -1"),
            ({"intra_threads": True}, "intra_threads is True"),
            ({"inter_threads": "2", "compute_type": "x"}, "compute_type.*inter_threads"),
        ],
    )
    def test_wrong_settings(
        self, marian: MarianCheckpoint, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            Translator(marian.path, **settings)

    def test_threads_and_workers_do_not_change_results(
        self, translator: Translator, marian: MarianCheckpoint
    ) -> None:
        sources = [["▁der"] * n for n in range(1, 9)]
        expected = translator.translate_batch(sources, beam_size=3, return_scores=True)
        for inter, intra in ((1, 1), (1, 2), (2, 1)):
            other = Translator(marian.path, inter_threads=inter, intra_threads=intra)
            assert (other.inter_threads, other.intra_threads) == (inter, intra)
            assert other.translate_batch(sources, beam_size=3, return_scores=True) == expected

    def test_no_such_path(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            Translator(tmp_path / "nowhere")

    def test_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no model")
        for path in (tmp_path, tmp_path / "notes.txt"):
            with pytest.raises(pytransformer.CheckpointError, match=path.name):
                Translator(path)

    @pytest.mark.parametrize("wrong", [3, [], object()])
    def test_what_is_no_path(self, wrong: Any) -> None:
        with pytest.raises(TypeError):
            Translator(wrong)
