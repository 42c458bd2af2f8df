"""Files translated and scored line by line, in CTranslate2's format."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pytransformer.ctranslate2.results import ExecutionStats, ScoringResult, TranslationResult

Lines = Iterable[list[str]]


@dataclass(frozen=True)
class Texts:
    """How lines become tokens and tokens lines; None: by spaces."""

    source_tokenize: Callable[[str], list[str]] | None
    target_tokenize: Callable[[str], list[str]] | None
    target_detokenize: Callable[[list[str]], str] | None

    def check_translation(self, with_prefixes: bool) -> None:
        """Raises ValueError if some functions are there and others missing."""
        if (self.source_tokenize is None) != (self.target_detokenize is None):
            raise ValueError(
                "source_tokenize_fn and target_detokenize_fn should both be set or none at all"
            )
        if with_prefixes and self.source_tokenize and not self.target_tokenize:
            raise ValueError("target_tokenize_fn should be set when passing a target file")

    def check_scoring(self) -> None:
        """Raises ValueError if some functions are there and others missing."""
        given = (self.source_tokenize, self.target_tokenize, self.target_detokenize)
        if len({function is None for function in given}) > 1:
            raise ValueError(
                "source_tokenize_fn, target_tokenize_fn, and target_detokenize_fn should all be "
                "set or none at all"
            )

    def line(self, tokens: list[str]) -> str:
        """The line for some tokens."""
        return (self.target_detokenize or " ".join)(tokens)


def translate_file(
    translate: Callable[[Lines, Lines | None], Iterator[TranslationResult]],
    paths: tuple[str, str, str | None],
    texts: Texts,
    *,
    with_scores: bool,
) -> ExecutionStats:
    """Translates the first of the files into the second, with prefixes of the third."""
    source_path, output_path, prefix_path = paths
    start = time.perf_counter()
    examples = tokens = 0
    with contextlib.ExitStack() as stack:
        source = _read(source_path, texts.source_tokenize, stack)
        prefix = prefix_path and _read(prefix_path, texts.target_tokenize, stack)
        output = stack.enter_context(_open(output_path, "wb", "output"))
        for result in translate(source, prefix or None):
            examples += 1
            tokens += len(result.hypotheses[0])
            for i, hypothesis in enumerate(result.hypotheses):
                score = f"{result.scores[i]:g} ||| " if with_scores else ""
                output.write(f"{score}{texts.line(hypothesis)}\n".encode())
    return ExecutionStats(tokens, examples, 1000 * (time.perf_counter() - start))


def score_file(
    score: Callable[[Lines, Lines], Iterator[ScoringResult]],
    paths: tuple[str, str, str],
    texts: Texts,
    *,
    with_tokens_score: bool,
) -> ExecutionStats:
    """Scores the second of the files as translations of the first, into the third."""
    source_path, target_path, output_path = paths
    start = time.perf_counter()
    examples = tokens = 0
    with contextlib.ExitStack() as stack:
        source = _read(source_path, texts.source_tokenize, stack)
        target = _read(target_path, texts.target_tokenize, stack)
        output = stack.enter_context(_open(output_path, "wb", "output"))
        for result in score(source, target):
            examples += 1
            tokens += len(result.log_probs)
            mean = sum(result.log_probs) / max(1, len(result.log_probs))
            more = "".join(f" {value:g}" for value in result.log_probs)
            more = f" |||{more}" if with_tokens_score else ""
            output.write(f"{mean:g} ||| {texts.line(result.tokens)}{more}\n".encode())
    return ExecutionStats(tokens, examples, 1000 * (time.perf_counter() - start))


def _read(
    path: str, tokenize: Callable[[str], list[str]] | None, stack: contextlib.ExitStack
) -> Iterator[list[str]]:
    """The tokens of each line of a file, which is opened at once.

    Raises RuntimeError, as CTranslate2, if it cannot be opened, ValueError if it is not UTF-8.
    """
    file = stack.enter_context(_open(path, "rb", "input"))
    split = tokenize or _split
    return (split(line) for line in _lines(file, path))


def _lines(file: BinaryIO, path: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number}: byte {error.start} is not UTF-8") from None


def _split(line: str) -> list[str]:
    return [token for token in line.split(" ") if token]


def _open(path: str, mode: Literal["rb", "wb"], what: str) -> BinaryIO:
    try:
        return open(path, mode)
    except OSError as error:
        raise RuntimeError(f"failed to open {what} file {path}: {error.strerror}") from error
