"""pytransformer.h through ctypes: its structs, its functions, and a translator over them."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Mapping, Sequence
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Array,
    Structure,
    byref,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
    sizeof,
)
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

PREFIX = "pytransformer_"
UNSET = -(2**31)
SIZE_MAX = c_size_t(-1).value


class Status(enum.IntEnum):
    """pytransformer_status."""

    OK = 0
    ARGUMENT = 1
    FILE = 2
    CHECKPOINT = 3
    UNSUPPORTED = 4
    OPTION = 5
    INPUT_LENGTH = 6
    DECODING = 7
    MEMORY = 8
    CANCELLED = 9
    INTERNAL = 10


# What Python calls the values of options that are enumerations, and of finish_reason.
NAMES: dict[str, dict[object, int]] = {
    "early_stopping": {False: 0, True: 1, "never": 2},
    "beam_rule": {"generate": 0, "marian": 1, "ctranslate2": 2},
    "batch_type": {"examples": 0, "tokens": 1},
}
FINISH_REASONS = ("end", "length", "loop")

TOKEN_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_size_t, c_int32, c_int32, c_float)
TEXT_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_size_t, c_void_p, c_size_t)


class Error(Structure):
    _fields_ = (("size", c_size_t), ("status", c_int32), ("message", c_char * 1012))


class Settings(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("inter_threads", c_int32),
        ("intra_threads", c_int32),
        ("isa", c_char_p),
        ("max_memory", c_uint64),
    )


class Info(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("family", c_char_p),
        ("compute_type", c_char_p),
        ("isa", c_char_p),
        ("num_parameters", c_int64),
        ("source_vocab_size", c_int64),
        ("target_vocab_size", c_int64),
        ("max_source_length", c_int64),
        ("max_decoding_length", c_int64),
        ("inter_threads", c_int32),
        ("intra_threads", c_int32),
        ("translates_text", c_int32),
    )


class Text(Structure):
    _fields_ = (("data", c_char_p), ("length", c_size_t))

    @classmethod
    def of(cls, text: str | bytes) -> Text:
        data = text.encode() if isinstance(text, str) else text
        return cls(data, len(data))

    def read(self) -> str | None:
        """All of it, NULs included; None for NULL."""
        address = c_void_p.from_buffer(self).value
        return None if address is None else ctypes.string_at(address, self.length).decode()


class Ids(Structure):
    _fields_ = (("data", POINTER(c_int32)), ("count", c_size_t))

    @classmethod
    def of(cls, ids: Sequence[int]) -> Ids:
        return cls((c_int32 * len(ids))(*ids), len(ids))


class Tokens(Structure):
    _fields_ = (("data", POINTER(Text)), ("count", c_size_t))

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Tokens:
        return cls((Text * len(tokens))(*map(Text.of, tokens)), len(tokens))


class Options(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("beam_size", c_int32),
        ("num_hypotheses", c_int32),
        ("patience", c_float),
        ("length_penalty", c_float),
        ("coverage_penalty", c_float),
        ("repetition_penalty", c_float),
        ("no_repeat_ngram_size", c_int32),
        ("renormalize_logits", c_int32),
        ("num_beam_groups", c_int32),
        ("diversity_penalty", c_float),
        ("early_stopping", c_int32),
        ("beam_rule", c_int32),
        ("max_decoding_length", c_int32),
        ("min_decoding_length", c_int32),
        ("max_length_factor", c_float),
        ("max_input_length", c_int32),
        ("stop_loops", c_int32),
        ("disable_unk", c_int32),
        ("prefix_bias_beta", c_float),
        ("return_alternatives", c_int32),
        ("min_alternative_expansion_prob", c_float),
        ("sampling_topk", c_int32),
        ("sampling_topp", c_float),
        ("sampling_temperature", c_float),
        ("seed", POINTER(c_uint64)),
        ("return_scores", c_int32),
        ("return_end_token", c_int32),
        ("return_attention", c_int32),
        ("attention_layer", c_int32),
        ("attention_heads", Ids),
        ("decoder_start_token_id", c_int32),
        ("forced_bos_token_id", c_int32),
        ("forced_eos_token_id", c_int32),
        ("end_tokens", Ids),
        ("allowed_tokens", Ids),
        ("suppress_sequences", POINTER(Ids)),
        ("num_suppress_sequences", c_size_t),
        ("force_phrases", POINTER(Ids)),
        ("num_force_phrases", c_size_t),
        ("max_batch_size", c_int32),
        ("batch_type", c_int32),
        ("src_lang", c_char_p),
        ("tgt_lang", c_char_p),
        ("target_prefix", Text),
        ("on_token", TOKEN_CALLBACK),
        ("on_text", TEXT_CALLBACK),
        ("context", c_void_p),
    )

    def change(self, values: Mapping[str, Any]) -> None:
        """Sets options by name; ids are any sequences, texts are strings, callbacks functions."""
        types = {field[0]: field[1] for field in self._fields_}
        for name, value in values.items():
            if types[name] is POINTER(Ids):
                setattr(self, f"num_{name}", len(value))
            setattr(self, name, _option(name, types[name], value))


class Hypothesis(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("text", Text),
        ("tokens", Tokens),
        ("ids", Ids),
        ("score", c_float),
        ("log_probs", POINTER(c_float)),
        ("num_log_probs", c_size_t),
        ("attention", POINTER(c_float)),
        ("source_length", c_size_t),
        ("finish_reason", c_int32),
    )


def _option(name: str, kind: Any, value: Any) -> Any:
    """An option's value as ctypes has it."""
    if kind is POINTER(Ids):
        return (Ids * len(value))(*map(Ids.of, value))
    if kind is POINTER(c_uint64):
        return ctypes.pointer(c_uint64(value))
    if kind in (Ids, Text):
        return kind.of(value)
    if kind is c_char_p:
        return value.encode()
    if kind in (TOKEN_CALLBACK, TEXT_CALLBACK):
        return kind(value)
    return NAMES.get(name, {}).get(value, value)


STRUCTS: dict[str, type[Structure]] = {
    f"{PREFIX}{kind.__name__.lower()}": kind
    for kind in (Error, Settings, Info, Text, Ids, Tokens, Options, Hypothesis)
}

_CALL = (c_void_p, POINTER(Options), POINTER(c_void_p), POINTER(Error))
# Result and arguments of each function.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "version": (c_char_p, ()),
    "open": (c_int, (c_char_p, POINTER(Settings), POINTER(c_void_p), POINTER(Error))),
    "open_memory": (
        c_int,
        (c_void_p, c_size_t, POINTER(Settings), POINTER(c_void_p), POINTER(Error)),
    ),
    "close": (None, (c_void_p,)),
    "get_info": (c_int, (c_void_p, POINTER(Info), POINTER(Error))),
    "source_language": (c_char_p, (c_void_p, c_size_t)),
    "target_language": (c_char_p, (c_void_p, c_size_t)),
    "options_init": (None, (POINTER(Options), c_size_t)),
    "translate_texts": (c_int, (_CALL[0], POINTER(Text), c_size_t, *_CALL[1:])),
    "translate_tokens": (
        c_int,
        (_CALL[0], POINTER(Tokens), POINTER(Tokens), c_size_t, *_CALL[1:]),
    ),
    "translate_ids": (c_int, (_CALL[0], POINTER(Ids), POINTER(Ids), c_size_t, *_CALL[1:])),
    "hypothesis_init": (None, (POINTER(Hypothesis), c_size_t)),
    "result_count": (c_size_t, (c_void_p,)),
    "result_hypotheses": (c_size_t, (c_void_p, c_size_t)),
    "result_get": (
        c_int,
        (c_void_p, c_size_t, c_size_t, POINTER(Hypothesis), POINTER(Error)),
    ),
    "result_text": (c_char_p, (c_void_p, c_size_t)),
    "result_free": (None, (c_void_p,)),
    "encode": (
        c_int,
        (
            c_void_p, Text, c_char_p, c_char_p, POINTER(c_int32), c_size_t, POINTER(c_size_t),
            POINTER(Error),
        ),
    ),
    "decode": (
        c_int,
        (c_void_p, Ids, c_void_p, c_size_t, POINTER(c_size_t), POINTER(Error)),
    ),
}  # fmt: skip


class CError(Exception):
    """A call that failed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{Status(status).name}: {message}")
        self.status = Status(status)
        self.message = message


@dataclass(frozen=True)
class Found:
    """One hypothesis, copied out of a result. Floats are the library's float32, exactly."""

    text: str | None
    tokens: list[str]
    ids: list[int]
    score: float
    log_probs: list[float]
    attention: list[list[float]] | None
    finish_reason: str


class CLibrary:
    """The library, loaded. The functions of the header, without their prefix, are `c`'s."""

    def __init__(self, path: Path) -> None:
        self.handle = ctypes.CDLL(str(path))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self.handle, PREFIX + name)
            function.restype = result
            function.argtypes = arguments

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A function of the header by its name without the prefix, as it is."""
        if name not in FUNCTIONS:
            raise AttributeError(name)
        function: Callable[..., Any] = getattr(self.handle, PREFIX + name)
        return function

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function whose last argument is an error; raises CError for what it reports."""
        error = Error(sizeof(Error))
        status = getattr(self, name)(*arguments, byref(error))
        assert status == error.status
        if status != Status.OK:
            raise CError(status, error.message.decode())

    def options(self, values: Mapping[str, Any]) -> Options:
        """Options that are unset but for these; see :meth:`Options.change`."""
        options = Options()
        self.options_init(byref(options), sizeof(options))
        options.change(values)
        return options


class CTranslator:
    """A translator of the C interface with Python's values; calls release the GIL.

    Args:
        library: the library.
        model: a native file's path, or its content: bytes in an array, used where they lie if that
            is at a multiple of 64.
        settings: fields of pytransformer_settings.
    """

    def __init__(
        self, library: CLibrary, model: Path | np.ndarray[Any, np.dtype[np.uint8]], **settings: Any
    ) -> None:
        self.library = library
        self.handle = c_void_p()
        self._model = model  # which must live as long
        given = byref(Settings(sizeof(Settings), **settings))
        if isinstance(model, Path):
            library.call("open", str(model).encode(), given, byref(self.handle))
        else:
            image = (model.ctypes.data, model.size)
            library.call("open_memory", *image, given, byref(self.handle))

    def __enter__(self) -> CTranslator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.library.close(self.handle)
        self.handle = c_void_p()

    def info(self) -> Info:
        info = Info(sizeof(Info))
        self.library.call("get_info", self.handle, byref(info))
        return info

    def languages(self, side: str) -> list[str]:
        """Of the side "source" or "target"."""
        found: list[str] = []
        while name := getattr(self.library, f"{side}_language")(self.handle, len(found)):
            found.append(name.decode())
        return found

    def translate(self, text: str | bytes, **options: Any) -> str:
        """The best translation of one text."""
        (hypotheses,) = self.translate_texts([text], **options)
        assert hypotheses[0].text is not None
        return hypotheses[0].text

    def translate_texts(self, texts: Sequence[str | bytes], **options: Any) -> list[list[Found]]:
        given = (Text * len(texts))(*map(Text.of, texts))
        return self._translate("texts", (given, len(texts)), options)

    def translate_tokens(
        self,
        sources: Sequence[Sequence[str]],
        prefixes: Sequence[Sequence[str]] | None = None,
        **options: Any,
    ) -> list[list[Found]]:
        given = (_array(Tokens, sources), _array(Tokens, prefixes), len(sources))
        return self._translate("tokens", given, options)

    def translate_ids(
        self,
        sources: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> list[list[Found]]:
        given = (_array(Ids, sources), _array(Ids, prefixes), len(sources))
        return self._translate("ids", given, options)

    def encode(self, line: str | bytes, src_lang: str = "", tgt_lang: str = "") -> list[int]:
        text, count = Text.of(line), c_size_t()
        ids = (c_int32 * (4 * text.length + 8))()
        languages = (src_lang.encode(), tgt_lang.encode())
        self.library.call("encode", self.handle, text, *languages, ids, len(ids), byref(count))
        return list(ids[: count.value])

    def decode(self, ids: Sequence[int]) -> str:
        length = c_size_t()
        self.library.call("decode", self.handle, Ids.of(ids), None, 0, byref(length))
        text = ctypes.create_string_buffer(length.value + 1)
        room = len(text)
        self.library.call("decode", self.handle, Ids.of(ids), text, room, byref(length))
        return text.raw[: length.value].decode()

    def _translate(
        self, what: str, given: tuple[Any, ...], values: Mapping[str, Any]
    ) -> list[list[Found]]:
        result = c_void_p()
        options = byref(self.library.options(values))
        self.library.call(f"translate_{what}", self.handle, *given, options, byref(result))
        try:
            return read_result(self.library, result)
        finally:
            self.library.result_free(result)


def read_result(library: CLibrary, result: c_void_p) -> list[list[Found]]:
    """All that a result holds."""
    return [
        [
            read_hypothesis(library, result, sentence, index)
            for index in range(library.result_hypotheses(result, sentence))
        ]
        for sentence in range(library.result_count(result))
    ]


def read_hypothesis(library: CLibrary, result: c_void_p, sentence: int, index: int) -> Found:
    found = Hypothesis()
    library.hypothesis_init(byref(found), sizeof(found))
    library.call("result_get", result, sentence, index, byref(found))
    ids, width = found.ids.data[: found.ids.count], found.source_length
    attention = None
    if found.attention:
        rows = range(0, len(ids) * width, width)
        attention = [found.attention[row : row + width] for row in rows]
    return Found(
        text=found.text.read(),
        tokens=[token.read() for token in found.tokens.data[: found.tokens.count]],
        ids=ids,
        score=found.score,
        log_probs=found.log_probs[: found.num_log_probs],
        attention=attention,
        finish_reason=FINISH_REASONS[found.finish_reason],
    )


def _array(kind: Any, items: Sequence[Any] | None) -> Array[Any] | None:
    return None if items is None else (kind * len(items))(*map(kind.of, items))
