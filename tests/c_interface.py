"""A translator over pytransformer.h, with Python's values."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from ctypes import Array, byref, c_int32, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from c_header import (
    FUNCTIONS,
    PREFIX,
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

FINISH_REASONS = ("end", "length", "loop")


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
