"""The C++ tokenizers, built with the driver that runs them, and asked beside Python's."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from embedding import need, need_package
from pytransformer.errors import CheckpointError, OptionError
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
_FLAGS = ("-O1", "-D_GLIBCXX_ASSERTIONS")
Languages = tuple[str, str]


def other_reader(reader: str) -> set[str]:
    """The files that only the other one of the two readers of sentencepiece's models needs."""
    lists = (ROOT / "CMakeLists.txt").read_text()
    (names,) = re.findall(rf"set\(other_reader ((?!sentencepiece_{reader}\b)[^)]*)\)", lists)
    return {f"{name}.cc" for name in names.split()}


def _compile(directory: Path, flags: tuple[str, ...], *arguments: str | Path) -> None:
    command = [os.environ.get("CXX", "g++"), "-std=c++20", *(flags or _FLAGS), f"-I{CSRC}"]
    subprocess.run([*command, *map(str, arguments)], check=True, cwd=directory)


@functools.cache
def _headers(directory: Path, flags: tuple[str, ...]) -> Path:
    """All of them, compiled: to read them takes longer than to compile what stands behind them."""
    headers = directory / "headers.h"
    paths = [*CSRC.glob("text/*.h"), *CSRC.glob("io/*.h")]
    headers.write_text("".join(f'#include "{path.relative_to(CSRC)}"\n' for path in paths))
    _compile(directory, flags, "-x", "c++-header", headers, "-o", directory / "headers.h.gch")
    return headers


@functools.cache
def _compiled(source: Path, directory: Path, flags: tuple[str, ...]) -> Path:
    target = directory / f"{source.stem}.o"
    headers = _headers(directory, flags)
    _compile(directory, flags, "-include", headers, "-c", source, "-o", target)
    return target


@functools.cache
def build_driver(directory: Path, *flags: str, reader: str = "own") -> Path:
    """The program, compiled in a folder that exists; skips where there is no compiler.

    What reads sentencepiece's models is the engine's own code, or the system's library.
    """
    need(os.environ.get("CXX", "g++"))
    libraries = need_package("sentencepiece") if reader == "library" else []
    table = directory / "language_table.cc"
    languages = (ROOT / "pytransformer/tokenizers/languages.tsv").read_text(encoding="utf-8")
    template = (CSRC / "text/language_table.cc.in").read_text(encoding="utf-8")
    table.write_text(template.replace("@PYTRANSFORMER_LANGUAGES@", languages), encoding="utf-8")
    sources = [*CSRC.glob("text/*.cc"), *CSRC.glob("io/*.cc"), table, ROOT / "tests/text_driver.cc"]
    without = other_reader(reader)
    sources = [source for source in sources if source.name not in without]
    _headers(directory, flags)
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda source: _compiled(source, directory, flags), sources))
    program = directory / f"text_driver_{reader}"
    _compile(directory, flags, *objects, *libraries, "-o", program)
    return program


def config_text(spec: TokenizerSpec, files: Mapping[str, bytes]) -> str:
    """The part of a native file's configuration that tells of the tokenizer."""
    listing = {name: {"tensor": name, "length": len(files[name])} for name in files}
    settings = {"files": listing, **spec.settings}
    return json.dumps({"tokenizer": {"kind": spec.kind, "settings": settings}})


def write_native(
    path: Path, spec: TokenizerSpec, files: Mapping[str, bytes], config: str | None = None
) -> Path:
    """A native file that holds a tokenizer and no model; `config` is what it says instead."""
    config = config_text(spec, files) if config is None else config
    metadata = {"format": "pytransformer", "format_version": "1", "config": config}
    header: dict[str, Any] = {"__metadata__": metadata}
    data = b""
    for name, content in files.items():
        padded = content + b"\0" * (-len(content) % 64)
        offsets = [len(data), len(data) + len(padded)]
        header[name] = {"dtype": "U8", "shape": [len(padded)], "data_offsets": offsets}
        data += padded
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


class Fault(NamedTuple):
    """An error, as the driver tells it."""

    kind: str
    message: str


def hexed(text: str | bytes) -> str:
    return (text if isinstance(text, bytes) else text.encode()).hex()


def _answer(line: str) -> Any:
    kind, _, rest = line.partition("\t")
    if kind == "ids":
        return [int(token_id) for token_id in rest.split()]
    if kind == "id":
        return None if rest == "none" else int(rest)
    if kind == "text":
        return bytes.fromhex(rest).decode()
    if kind == "texts":
        return tuple(bytes.fromhex(text).decode() for text in rest.split("\t") if text)
    if kind.endswith("Error") or kind == "another error":
        return Fault(kind, bytes.fromhex(rest).decode(errors="backslashreplace"))
    return line


@dataclass
class Questions:
    """Requests of a driver, gathered to be asked at once."""

    program: Path
    lines: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        self.lines.append(f"open\t{path}")

    def add(self, name: str, *fields: str) -> None:
        self.lines.append("\t".join((name, *fields)))

    def encode(self, text: str | bytes, languages: Languages = ("", "")) -> None:
        self.add("encode", hexed(text), *map(hexed, languages))

    def decode(self, ids: Iterable[int]) -> None:
        self.add("decode", " ".join(map(str, ids)))

    def tokens(self, name: str, tokens: Iterable[str]) -> None:
        self.add(name, " ".join(map(hexed, tokens)))

    def answers(self) -> list[Any]:
        """All of them; what the program writes besides, or a crash, is an error."""
        done = subprocess.run(
            [str(self.program)],
            input="".join(f"{line}\n" for line in self.lines).encode(),
            capture_output=True,
            cwd=self.program.parent,
        )
        assert done.returncode == 0, done
        assert not done.stderr
        answers = [_answer(line) for line in done.stdout.decode().split("\n")[:-1]]
        assert len(answers) == len(self.lines)
        self.lines.clear()
        return answers


@dataclass
class Beside:
    """A tokenizer of Python and the same one of C++."""

    python: Tokenizer
    questions: Questions
    path: Path

    def assert_texts_equal(
        self, texts: Sequence[str], languages: Languages = ("", ""), every: int = 1
    ) -> None:
        """Ids of texts as sources and as targets, and every so many of them as texts again."""
        self.questions.open(self.path)
        expected: list[Any] = ["opened"]
        source, target = (language or None for language in languages)
        for number, text in enumerate(texts):
            ids = self.python.encode_ids(text, src_lang=source, tgt_lang=target)
            self.questions.encode(text, languages)
            expected.append(ids)
            if number % every == 0:
                target_ids = self.python.target_ids(self.python.encode_target(text))
                self.questions.add("encode_target", hexed(text))
                expected.append(target_ids)
                for some in (ids, target_ids):
                    self.questions.decode(some)
                    expected.append(outcome(functools.partial(self.python.decode, some)))
        self._compare(expected)

    def assert_ids_equal(self, many: Sequence[Sequence[int]]) -> None:
        """The text of ids, their tokens, and the ids of these."""
        self.questions.open(self.path)
        expected: list[Any] = ["opened"]
        for ids in many:
            self.questions.decode(ids)
            expected.append(outcome(functools.partial(self.python.decode, ids)))
            self.questions.add("closing", " ".join(map(str, ids)))
            expected.append(self.python.closing(ids))
            for side in ("source", "target"):
                tokens_of = getattr(self.python, f"{side}_tokens")
                tokens = [outcome(functools.partial(tokens_of, [token_id])) for token_id in ids]
                for token_id, token in zip(ids, tokens, strict=True):
                    self.questions.add(f"{side}_token", str(token_id))
                    expected.append(token if isinstance(token, Fault) else token[0])
                known = [token[0] for token in tokens if not isinstance(token, Fault)]
                self.questions.tokens(f"{side}_ids", known)
                expected.append(getattr(self.python, f"{side}_ids")(known))
        self._compare(expected)

    def assert_properties_equal(self, languages: Iterable[str] = ()) -> None:
        """What the tokenizer says of itself and of languages, errors included."""
        self.questions.open(self.path)
        expected: list[Any] = ["opened"]
        for name, value in (
            ("unknown", self.python.unknown_id),
            ("source_languages", self.python.source_languages),
            ("target_languages", self.python.target_languages),
            ("closing", self.python.closing([])),
        ):
            self.questions.add(name)
            expected.append(value)
        for language in ("", *languages):
            for name in ("forced_bos", "decoder_start"):
                method = getattr(self.python, f"{name}_id")
                self.questions.add(name, hexed(language))
                expected.append(outcome(functools.partial(method, language or None)))
            for pair in ((language, ""), ("", language), (language, language)):
                self.questions.encode("a", pair)
                names = {"src_lang": pair[0] or None, "tgt_lang": pair[1] or None}
                expected.append(outcome(functools.partial(self.python.encode_ids, "a", **names)))
        self._compare(expected)

    def _compare(self, expected: Sequence[Any]) -> None:
        lines = [line[:300] for line in self.questions.lines]
        answers = self.questions.answers()
        for line, answer, right in zip(lines, answers, expected, strict=True):
            assert answer == right, line


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or its error."""
    try:
        return call()
    except (OptionError, CheckpointError) as error:
        return Fault(type(error).__name__, str(error))


def random_ids(generator: random.Random, size: int, count: int = 50) -> Iterator[list[int]]:
    for _ in range(count):
        yield [generator.randrange(size) for _ in range(generator.randrange(20))]


# What means something to some tokenizer, and characters of all sorts.
_PARTS = [
    *"aeinHund läß.<>/s_-09\x1c\x00\t\n\r", "</s>", "<unk>", "<mask>", "<pad>", "de_DE",
    "eng_Latn", "__de__", ">>de<<", "<unk_2>", "<extra_id_7>", "<2de>", "▁", "▁▁", "\u00a0", "é",
    "e\u0301", "½", "\u200d", "ﬁ", "漢", "👩‍👩‍👧", "Ａ", "\u0600\u0661", "\u0300", "\u3000", " . ",
    " n't", "\ufeff", "\U0010ffff", "กำ", "\r\n",
]  # fmt: skip
_PLANES = ((0, 0x80), (0, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000))


def random_texts(generator: random.Random, count: int = 200) -> Iterator[str]:
    for _ in range(count):
        yield "".join(generator.choices(_PARTS, k=generator.randrange(14)))
        codes = (generator.randrange(*generator.choice(_PLANES)) for _ in range(30))
        yield "".join(chr(code) for code in codes)
