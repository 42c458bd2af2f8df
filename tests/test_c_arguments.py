"""What the C interface answers to options, inputs and callbacks that are wrong."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from ctypes import byref, c_int32, c_size_t
from typing import Any

import pytest

from c_header import Ids, Options, Status, Text
from c_interface import CError, CTranslator
from random_models import END

Values = dict[str, Any]

VOCABULARY = 23
SOURCE = [5, 6, END]


# -- Options ---------------------------------------------------------------------------------------


# Each is wrong for a vocabulary of 23; its message must hold its name, and these words.
WRONG: list[tuple[Values, str]] = [
    ({"beam_size": 0}, "0 is not between 1"),
    ({"beam_size": 2**31 - 1}, "2147483647"),
    ({"num_hypotheses": 0}, "between 1"),
    ({"num_hypotheses": 3, "beam_size": 2}, "3 is not between 1 and 2"),
    ({"patience": -0.5}, "-0.5"),
    ({"patience": math.inf}, "inf"),
    ({"length_penalty": -math.inf}, "inf"),
    ({"coverage_penalty": -1.0}, "-1"),
    ({"repetition_penalty": 0.0}, "0.0"),
    ({"no_repeat_ngram_size": -1}, "negative"),
    ({"renormalize_logits": 2}, "2, expected 0 or 1"),
    ({"num_beam_groups": 0}, "0 is not between"),
    ({"num_beam_groups": 3, "beam_size": 4}, "multiple"),
    ({"diversity_penalty": -1.0}, "-1"),
    ({"diversity_penalty": 0.5, "beam_size": 2}, "needs num_beam_groups"),
    ({"early_stopping": 3}, "3, expected 0 to 2"),
    ({"early_stopping": -1}, "-1, expected 0 to 2"),
    ({"beam_rule": 3}, "3, expected 0 to 2"),
    ({"max_decoding_length": 0}, "0 is not between 1"),
    ({"max_decoding_length": 70}, "70 is not between 1 and 69"),
    ({"min_decoding_length": -1}, "-1 is not between 0"),
    ({"min_decoding_length": 9, "max_decoding_length": 8}, "9 is not between 0 and 8"),
    ({"max_length_factor": -1.0}, "-1"),
    ({"max_input_length": -1}, "-1, expected 0 or more"),
    ({"stop_loops": -5}, "-5, expected 0 or 1"),
    ({"disable_unk": 7}, "7, expected 0 or 1"),
    ({"prefix_bias_beta": 1.0}, "1.0"),
    ({"return_alternatives": 2}, "2, expected 0 or 1"),
    ({"return_alternatives": 1, "num_beam_groups": 2, "beam_size": 2}, "num_beam_groups"),
    ({"min_alternative_expansion_prob": 1.5, "return_alternatives": 1}, "1.5"),
    ({"min_alternative_expansion_prob": 0.5}, "needs return_alternatives"),
    ({"sampling_topk": -1}, "negative"),
    ({"sampling_topk": 5, "beam_size": 2}, "beam_size 1"),
    ({"sampling_topp": 0.0, "sampling_topk": 0}, "0.0"),
    ({"sampling_temperature": 0.0, "sampling_topk": 0}, "0.0"),
    ({"sampling_topp": 0.9}, "need sampling_topk"),
    ({"sampling_temperature": 0.9}, "need sampling_topk"),
    ({"return_scores": 2}, "2, expected 0 or 1"),
    ({"return_end_token": -1}, "-1, expected 0 or 1"),
    ({"return_attention": 9}, "9, expected 0 or 1"),
    ({"attention_layer": 2}, "2 is not between 0 and 1"),
    ({"attention_layer": -3}, "-3 is not between 0 and 1"),
    ({"attention_heads": [0, 3]}, "3 is not between 0 and 2"),
    ({"decoder_start_token_id": VOCABULARY}, "23 is no token"),
    ({"forced_bos_token_id": -2}, "-2 is no token"),
    ({"forced_eos_token_id": 3}, "3, which is none of the end tokens"),
    ({"end_tokens": [0, VOCABULARY]}, "23; the vocabulary has 23"),
    ({"allowed_tokens": [-1]}, "-1; the vocabulary has 23"),
    ({"suppress_sequences": [[3], [VOCABULARY]]}, "23; the vocabulary has 23"),
    ({"suppress_sequences": [[3], []]}, "empty"),
    ({"force_phrases": [[3, -7]]}, "-7; the vocabulary has 23"),
    ({"force_phrases": [[]]}, "empty"),
    ({"max_batch_size": -1}, "less than 1"),
    ({"batch_type": 2}, "2, expected 0 to 1"),
]


@pytest.mark.parametrize(("values", "words"), WRONG, ids=str)
def test_option_out_of_range(values: Values, words: str, c_small: CTranslator) -> None:
    """The same for one that is not translated; the translator goes on."""
    for sources in ([SOURCE], []):
        with pytest.raises(CError) as caught:
            c_small.translate_ids(sources, **values)
        assert caught.value.status == Status.OPTION
        name = next(iter(values)).removesuffix("_topk" if "sampling_topk" in values else "")
        assert name in caught.value.message
        assert words in caught.value.message
    assert c_small.translate_ids([SOURCE])[0][0].ids


def test_every_option_has_a_wrong_value_here() -> None:
    free = {
        "size", "seed", "num_suppress_sequences", "num_force_phrases", "src_lang", "tgt_lang",
        "target_prefix", "on_token", "on_text", "context",
    }  # fmt: skip
    assert {name for values, _ in WRONG for name in values} == {
        field[0] for field in Options._fields_
    } - free


def test_more_beams_than_tokens(c_small: CTranslator) -> None:
    """There are as many hypotheses as there can be."""
    options: Values = {"beam_size": 4000, "num_hypotheses": 4000, "max_decoding_length": 2}
    ((*found,),) = c_small.translate_ids([SOURCE], **options)
    assert VOCABULARY < len(found) <= (VOCABULARY + 1) ** 2
    assert len({tuple(one.ids) for one in found}) == len(found)


def test_unknown_language(c_bundled: CTranslator) -> None:
    """Even if there is nothing to translate."""
    for texts in (["Hund"], []):
        with pytest.raises(CError, match="language 'xx'") as caught:
            c_bundled.translate_texts(texts, tgt_lang="xx")
        assert caught.value.status == Status.OPTION


def test_lines_and_many_hypotheses(c_bundled: CTranslator) -> None:
    with pytest.raises(CError, match="text 1 holds a newline") as caught:
        c_bundled.translate_texts(["Hund", "Hund\n"], beam_size=2, num_hypotheses=2)
    assert caught.value.status == Status.OPTION


# -- Inputs ----------------------------------------------------------------------------------------


NO_TEXT = [
    b"\xff", b"Hund \xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80", b"\x80", b"Ein Hund\n\xfe",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TEXT, ids=repr)
def test_bytes_that_are_no_text(text: bytes, c_bundled: CTranslator) -> None:
    def refused(translate: Any) -> None:
        with pytest.raises(CError, match=r"UTF-8|Unicode") as caught:
            translate()
        assert caught.value.status == Status.OPTION

    refused(lambda: c_bundled.translate_texts(["Hund", text]))
    refused(lambda: c_bundled.translate("Hund", target_prefix=text))
    refused(lambda: c_bundled.encode(text))


def test_ids_that_are_wrong(c_small: CTranslator) -> None:
    for sources, prefixes, status, words in (
        ([[]], None, Status.OPTION, "source 0 is empty"),
        ([SOURCE, [VOCABULARY]], None, Status.OPTION, "source 1 holds the id 23"),
        ([[-1, 0]], None, Status.OPTION, "source 0 holds the id -1"),
        ([SOURCE], [[99]], Status.OPTION, "target 0 holds the id 99"),
        ([SOURCE], [[5] * 69], Status.OPTION, "target 0 has 69 tokens"),
        ([SOURCE, [5] * 70 + [END]], None, Status.INPUT_LENGTH, "input 1 has 71 tokens"),
    ):
        with pytest.raises(CError, match=words) as caught:
            c_small.translate_ids(sources, prefixes)
        assert caught.value.status == status


def test_long_text(c_bundled: CTranslator) -> None:
    text = "Hund " * 700
    with pytest.raises(CError, match=r"input 1 has 702 tokens.*max_input_length") as caught:
        c_bundled.translate_texts(["Hund", text])
    assert caught.value.status == Status.INPUT_LENGTH
    assert c_bundled.translate(text, max_input_length=9) == c_bundled.translate(
        "Hund " * 8, max_input_length=9
    )


def test_no_input(c_small: CTranslator, c_bundled: CTranslator) -> None:
    for prefixes in (None, []):
        assert c_small.translate_ids([], prefixes) == []
        assert c_bundled.translate_tokens([], prefixes) == []
    assert c_bundled.translate_texts([]) == []
    assert c_bundled.translate_texts(["", "\n", " \r\n\t"])[2][0].text == "\r\n"


def test_model_without_a_tokenizer(c_small: CTranslator) -> None:
    assert not c_small.info().translates_text
    for call in (
        lambda: c_small.translate("Hund"),
        lambda: c_small.translate_tokens([["a"]]),
        lambda: c_small.encode("Hund"),
        lambda: c_small.decode([5]),
        lambda: c_small.translate_ids([SOURCE], disable_unk=1),
        lambda: c_small.translate_ids([SOURCE], tgt_lang="de"),
    ):
        with pytest.raises(CError, match="tokenizer") as caught:
            call()
        assert caught.value.status == Status.UNSUPPORTED
    assert c_small.languages("source") == c_small.languages("target") == []


def test_decoding_ids_that_are_none(c_bundled: CTranslator) -> None:
    for wrong in (-1, 10**6):
        with pytest.raises(CError, match=str(wrong)) as caught:
            c_bundled.decode([5, wrong])
        assert caught.value.status == Status.OPTION


def test_buffers_that_are_too_small(c_bundled: CTranslator) -> None:
    """As much as fits is written, and nothing behind it."""
    library, line = c_bundled.library, Text.of("Ein Hund läuft.")
    expected = c_bundled.encode("Ein Hund läuft.")
    text = c_bundled.decode(expected).encode()
    assert len(expected) > 3
    assert len(text) > 3
    for room in range(len(expected) + 2):
        ids, count = (c_int32 * (len(expected) + 2))(*[-9] * (len(expected) + 2)), c_size_t()
        where = ids if room else None
        library.call("encode", c_bundled.handle, line, None, None, where, room, byref(count))
        assert count.value == len(expected)
        written = min(room, len(expected))
        assert ids[:] == expected[:written] + [-9] * (len(ids) - written)
    for room in range(len(text) + 3):
        content, length = ctypes.create_string_buffer(b"#" * (len(text) + 3)), c_size_t()
        where = content if room else None
        given = (Ids.of(expected), where, room, byref(length))
        library.call("decode", c_bundled.handle, *given)
        assert length.value == len(text)
        written = (text + b"\0")[:room]
        assert content.raw[: len(text) + 3] == written + b"#" * (len(text) + 3 - len(written))


# -- Callbacks -------------------------------------------------------------------------------------


def test_callback_that_asks_for_the_end(c_small: CTranslator, c_bundled: CTranslator) -> None:
    """At once or later; the translator goes on."""
    expected = c_small.translate_ids([SOURCE] * 3)
    for last in range(4):
        calls = iter(range(last + 1))

        def stop(*_: Any, calls: Iterator[int] = calls, last: int = last) -> int:
            return int(next(calls) == last)  # nobody calls again

        with pytest.raises(CError, match="cancelled") as caught:
            c_small.translate_ids([SOURCE] * 3, on_token=stop)
        assert caught.value.status == Status.CANCELLED
        assert c_small.translate_ids([SOURCE] * 3) == expected
    for texts in (["Ein Hund läuft.", "Eine Katze."], ["\nEin Hund"]):
        with pytest.raises(CError) as caught:
            c_bundled.translate_texts(texts, on_text=lambda *_: -1)
        assert caught.value.status == Status.CANCELLED


def test_callbacks_may_translate(c_small: CTranslator) -> None:
    expected = c_small.translate_ids([SOURCE], return_scores=1)
    inner = []

    def nest(*_: Any) -> int:
        inner.append(c_small.translate_ids([SOURCE], return_scores=1))
        return 0

    assert c_small.translate_ids([SOURCE], on_token=nest, return_scores=1) == expected
    assert inner == [expected] * len(inner)
    assert inner
