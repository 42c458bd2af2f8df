"""Structs of other sizes than the library's, NULL and counts of anything, in the C interface."""

from __future__ import annotations

import ctypes
import math
from ctypes import POINTER, byref, c_char, c_int32, c_size_t, c_void_p, sizeof
from typing import Any

import numpy as np
import pytest

from bundled import bundled_model
from c_header import (
    FUNCTIONS,
    SIZE_MAX,
    Error,
    Hypothesis,
    Ids,
    Info,
    Options,
    Settings,
    Status,
    Text,
    Tokens,
)
from c_interface import CError, CLibrary, CTranslator
from random_models import END

Image = np.ndarray[Any, np.dtype[np.uint8]]

VOCABULARY = 23
SOURCE = [5, 6, END]


def test_null_everywhere(c_library: CLibrary) -> None:
    """Of every function: all arguments, with and without room for the error."""
    for name, (result, kinds) in FUNCTIONS.items():
        given = [kind() if kind in (c_size_t, Text, Ids) else None for kind in kinds]
        if result is ctypes.c_int:
            error = Error(sizeof(Error))
            assert getattr(c_library, name)(*given[:-1], byref(error)) == Status.ARGUMENT
            assert error.status == Status.ARGUMENT
            assert b"NULL" in error.message
            assert getattr(c_library, name)(*given) == Status.ARGUMENT
        elif name != "version":
            assert not getattr(c_library, name)(*given)


def call_with(translator: CTranslator, name: str, changes: dict[int, Any]) -> Error:
    """What a call says in which single arguments are others than sound ones."""
    library, result, count = translator.library, c_void_p(), c_size_t()
    options, info, found = library.options({}), Info(sizeof(Info)), Hypothesis(sizeof(Hypothesis))
    ids, tokens = (Ids * 1)(Ids.of(SOURCE)), (Tokens * 1)(Tokens.of(["a"]))
    room = (c_int32 * 8)()
    sound: dict[str, list[Any]] = {
        "get_info": [translator.handle, byref(info)],
        "translate_texts": [
            translator.handle, (Text * 1)(Text.of("a")), 1, byref(options), byref(result),
        ],
        "translate_tokens": [
            translator.handle, tokens, None, 1, byref(options), byref(result),
        ],
        "translate_ids": [translator.handle, ids, None, 1, byref(options), byref(result)],
        "result_get": [None, 0, 0, byref(found)],
        "encode": [translator.handle, Text.of("a"), None, None, room, 8, byref(count)],
        "decode": [translator.handle, Ids.of([5]), room, 8, byref(count)],
    }  # fmt: skip
    arguments = sound[name]
    for place, value in changes.items():
        arguments[place] = value
    error = Error(sizeof(Error))
    assert getattr(library, name)(*arguments, byref(error)) == error.status
    assert not result
    return error


NULLS: list[tuple[str, dict[int, Any], bytes]] = [
    ("get_info", {0: None}, b"translator"),
    ("get_info", {1: None}, b"info"),
    *(
        (name, changes, word)
        for name in ("translate_texts", "translate_tokens", "translate_ids")
        for changes, word in (({0: None}, b"translator"), ({1: None}, b"s: NULL, but the count"))
    ),
    ("translate_texts", {4: None}, b"result"),
    ("translate_ids", {5: None}, b"result"),
    ("result_get", {}, b"result"),
    ("encode", {0: None}, b"translator"),
    ("encode", {1: Text(None, 5)}, b"text is NULL"),
    ("encode", {4: None}, b"ids are NULL, but their capacity"),
    ("encode", {6: None}, b"count"),
    ("decode", {1: Ids(None, 5)}, b"ids: NULL, but the count"),
    ("decode", {2: None}, b"text is NULL, but its capacity"),
    ("decode", {4: None}, b"length"),
    # Counts that no memory holds; nothing is read.
    ("translate_texts", {2: SIZE_MAX}, b"18446744073709551615 is no count"),
    ("translate_tokens", {3: 2**60}, b"1152921504606846976 is no count"),
    ("translate_ids", {3: 2**63}, b"9223372036854775808 is no count"),
    ("encode", {1: Text(b"a", 2**63)}, b"9223372036854775808 is no count"),
    ("decode", {1: Ids.of([]), 3: 0, 2: None, 4: None}, b"length"),
]


@pytest.mark.parametrize(("name", "changes", "words"), NULLS, ids=range(len(NULLS)))
def test_null_or_an_absurd_count(
    name: str, changes: dict[int, Any], words: bytes, c_bundled: CTranslator
) -> None:
    error = call_with(c_bundled, name, changes)
    assert error.status == Status.ARGUMENT
    assert words in error.message


def test_null_inside_of_inputs_and_options(c_small: CTranslator, c_bundled: CTranslator) -> None:
    missing = Ids(None, 3)
    for field, value in (
        ("attention_heads", missing),
        ("end_tokens", missing),
        ("allowed_tokens", missing),
        ("num_suppress_sequences", 2),
        ("num_force_phrases", 2),
        ("num_force_phrases", SIZE_MAX),
        ("target_prefix", Text(None, 4)),
        ("end_tokens", Ids((c_int32 * 1)(), 2**62)),
    ):
        options = c_small.library.options({})
        setattr(options, field, value)
        error = call_with(c_small, "translate_ids", {4: byref(options)})
        assert error.status == Status.ARGUMENT, field
        assert b"NULL" in error.message or b"no count" in error.message
    for place in (1, 2):
        error = call_with(c_small, "translate_ids", {place: (Ids * 1)(missing)})
        assert error.status == Status.ARGUMENT
        for broken in (Tokens(None, 3), Tokens((Text * 1)(Text(None, 1)), 1)):
            error = call_with(c_bundled, "translate_tokens", {place: (Tokens * 1)(broken)})
            assert error.status == Status.ARGUMENT
    error = call_with(c_bundled, "translate_texts", {1: (Text * 1)(Text(None, 1))})
    assert error.status == Status.ARGUMENT


def test_structs_of_another_size(c_small: CTranslator, c_library: CLibrary) -> None:
    """Of an older header they are smaller; whatever else is no size is refused."""
    options = c_library.options({"beam_size": 2})
    for size in (0, 7, 8, Options.context.offset - 1, sizeof(Options) + 1, 2**40, SIZE_MAX):
        options.size = size
        error = call_with(c_small, "translate_ids", {4: byref(options)})
        assert error.status == Status.ARGUMENT
        assert b"options->size" in error.message
        for kind, name in ((Info, "get_info"), (Hypothesis, "result_get")):
            if 8 <= size <= sizeof(kind):
                continue
            error = Error(sizeof(Error))
            result = translate(c_small)
            given = [c_small.handle] if name == "get_info" else [result, 0, 0]
            status = getattr(c_library, name)(*given, byref(kind(size)), byref(error))
            assert status == error.status == Status.ARGUMENT
            assert b"->size is wrong" in error.message
            c_library.result_free(result)
    for size in (0, 15, sizeof(Settings) + 1, SIZE_MAX):
        handle = c_void_p(1)
        error = Error(sizeof(Error))
        path = str(bundled_model()).encode()
        status = c_library.open(path, byref(Settings(size)), byref(handle), byref(error))
        assert status == error.status == Status.ARGUMENT
        assert b"settings->size" in error.message
        assert not handle


def translate(translator: CTranslator) -> c_void_p:
    result = c_void_p()
    given = (translator.handle, (Ids * 1)(Ids.of(SOURCE)), None, 1, None, byref(result))
    translator.library.call("translate_ids", *given)
    return result


def test_older_headers(c_small: CTranslator, c_image: Image, c_library: CLibrary) -> None:
    """Nothing is read or written behind the end of a struct."""
    info = Info(Info.inter_threads.offset)
    info.inter_threads = -77
    c_library.call("get_info", c_small.handle, byref(info))
    assert info.target_vocab_size == VOCABULARY
    assert (info.size, info.inter_threads) == (Info.inter_threads.offset, -77)

    found = Hypothesis()
    found.source_length = 77
    c_library.hypothesis_init(byref(found), Hypothesis.source_length.offset)
    result = translate(c_small)
    c_library.call("result_get", result, 0, 0, byref(found))
    assert found.ids.count
    assert (found.size, found.source_length) == (Hypothesis.source_length.offset, 77)
    c_library.result_free(result)

    options = Options()
    options.context = 77
    c_library.options_init(byref(options), Options.context.offset)
    assert (options.size, options.context) == (Options.context.offset, 77)
    assert options.beam_size == -(2**31)
    assert math.isnan(options.sampling_temperature)
    assert not call_with_result(c_small, options).status

    settings = Settings(Settings.isa.offset, 1, 1, b"no instruction set", 1)
    with CTranslator(c_library, c_image) as other:
        c_library.close(other.handle)
        given = (c_image.ctypes.data, c_image.size, byref(settings), byref(other.handle))
        c_library.call("open_memory", *given)
        assert other.translate_ids([SOURCE]) == c_small.translate_ids([SOURCE])


def call_with_result(translator: CTranslator, options: Options) -> Error:
    result, error = c_void_p(), Error(sizeof(Error))
    given = (translator.handle, (Ids * 1)(Ids.of(SOURCE)), None, 1, byref(options), byref(result))
    assert translator.library.translate_ids(*given, byref(error)) == error.status
    translator.library.result_free(result)
    return error


def test_newer_header_sets_what_is_unknown_to_zero(c_library: CLibrary) -> None:
    memory = (c_char * (sizeof(Options) + 64))(*b"\xff" * (sizeof(Options) + 64))
    c_library.options_init(ctypes.cast(memory, POINTER(Options)), sizeof(Options) + 32)
    assert memory.raw[sizeof(Options) :] == b"\0" * 32 + b"\xff" * 32


def test_errors_of_another_size(c_library: CLibrary) -> None:
    """What is too small for a message is left alone; behind the message nothing is written."""
    handle = c_void_p()
    for size in (0, 8, sizeof(Error) - 1):
        error = Error(size, 77, b"untouched")
        status = c_library.open(b"/nowhere", None, byref(handle), byref(error))
        assert status == Status.FILE
        assert (error.size, error.status, error.message) == (size, 77, b"untouched")
    memory = (c_char * (sizeof(Error) + 32))(*b"\xff" * (sizeof(Error) + 32))
    error = Error.from_buffer(memory)
    error.size = sizeof(Error) + 32
    c_library.open(b"/nowhere", None, byref(handle), ctypes.cast(memory, POINTER(Error)))
    assert error.message == b"/nowhere: No such file or directory"
    assert memory.raw[sizeof(Error) :] == b"\xff" * 32


def test_long_messages_are_cut_between_characters(c_bundled: CTranslator) -> None:
    for letters in range(4):
        with pytest.raises(CError) as caught:
            c_bundled.translate("Hund", tgt_lang="x" * letters + "語" * 2000)
        message = caught.value.message  # which is UTF-8
        assert 1000 < len(message.encode()) < 1012
        assert message.endswith("語")


def test_success_leaves_the_error_alone(c_small: CTranslator) -> None:
    error = Error(sizeof(Error), 77, b"untouched")
    info = Info(sizeof(Info))
    assert c_small.library.get_info(c_small.handle, byref(info), byref(error)) == 0
    assert (error.status, error.message) == (77, b"untouched")


def test_places_beyond_the_end(c_small: CTranslator) -> None:
    library, result = c_small.library, translate(c_small)
    assert library.result_count(result) == 1
    assert library.result_hypotheses(result, 0) == 1
    assert library.result_hypotheses(result, 1) == 0
    assert library.result_hypotheses(result, SIZE_MAX) == 0
    assert library.result_text(result, 0) is None
    assert library.result_text(result, 9) is None
    for place in ((1, 0), (0, 1), (SIZE_MAX, 0), (0, SIZE_MAX)):
        found = Hypothesis(sizeof(Hypothesis))
        with pytest.raises(CError, match=r"no (sentence|hypothesis) of that index") as caught:
            library.call("result_get", result, *place, byref(found))
        assert caught.value.status == Status.ARGUMENT
    library.result_free(result)
    assert library.target_language(c_small.handle, SIZE_MAX) is None


def test_result_outlives_its_translator(c_library: CLibrary, c_image: Image) -> None:
    with CTranslator(c_library, c_image) as opened:
        expected = opened.translate_ids([SOURCE])[0][0].ids
        result = translate(opened)
    found = Hypothesis(sizeof(Hypothesis))
    c_library.call("result_get", result, 0, 0, byref(found))
    assert found.ids.data[: found.ids.count] == expected
    c_library.result_free(result)
