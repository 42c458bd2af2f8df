"""Files translated and scored line by line."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

from pytransformer.errors import OptionError
from pytransformer.results import ExecutionStats, TranslationResult

if TYPE_CHECKING:
    from pytransformer.translator import Translator

Tokenize = Callable[[str], list[str]]
Detokenize = Callable[[list[str]], str]

# Other white space than ASCII's may be part of a token.
_TOKEN = re.compile(r"[^ \t\r\n\f\v]+")


def translate_file(
    translator: Translator,
    source_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str] | None = None,
    *,
    max_batch_size: int = 32,
    read_batch_size: int = 0,
    batch_type: Literal["examples", "tokens"] = "examples",
    with_scores: bool = False,
    source_tokenize_fn: Tokenize | None = None,
    target_tokenize_fn: Tokenize | None = None,
    target_detokenize_fn: Detokenize | None = None,
    **options: Any,
) -> ExecutionStats:
    """Translates a file, one sentence a line.

    As in CTranslate2, lines are tokens with spaces between them unless functions say how text
    becomes tokens and tokens text. With several hypotheses, each has a line.

    Args:
        translator: what translates.
        source_path: UTF-8 text.
        output_path: where the translations go; must be another file.
        target_path: prefixes of the translations, a line for each source line.
        max_batch_size: as in `translate_batch`.
        read_batch_size: accepted for CTranslate2's sake; lines are read ahead as workers need.
        batch_type: as in `translate_batch`.
        with_scores: begin each line with its score and " ||| ".
        source_tokenize_fn: tokens of a source line.
        target_tokenize_fn: tokens of a prefix.
        target_detokenize_fn: the line for the tokens of a translation.
        **options: see :class:`pytransformer.options.TranslationOptions`.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a file is not UTF-8.
        OptionError: as `translate_batch`; or the prefixes' file has another number of lines.
    """
    del read_batch_size
    _check_different(output_path, source_path, target_path)
    if with_scores:
        options["return_scores"] = True
    start = time.perf_counter()
    examples = tokens = 0
    with contextlib.ExitStack() as stack:
        target = None
        source = _tokens(source_path, source_tokenize_fn, stack)
        if target_path is not None:
            target = _tokens(target_path, target_tokenize_fn, stack)
        results = translator.translate_iterable(
            source,
            target,
            max_batch_size=max_batch_size,
            batch_type=batch_type,
            **options,
        )
        # Wrong options must not cost what is in the file.
        output = stack.enter_context(_writer(output_path))
        for result in results:
            examples += 1
            tokens += sum(map(len, result.hypotheses))
            output.writelines(_translated_lines(result, target_detokenize_fn))
    return ExecutionStats(examples, tokens, 1000 * (time.perf_counter() - start))


def _translated_lines(result: TranslationResult, detokenize: Detokenize | None) -> Iterator[str]:
    for index, hypothesis in enumerate(result.hypotheses):
        score = f"{result.scores[index]:.6f} ||| " if result.scores else ""
        yield f"{score}{_line(hypothesis, detokenize)}\n"


def score_file(
    translator: Translator,
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    max_batch_size: int = 32,
    read_batch_size: int = 0,
    batch_type: Literal["examples", "tokens"] = "examples",
    max_input_length: int = 0,
    offset: int = 0,
    with_tokens_score: bool = False,
    source_tokenize_fn: Tokenize | None = None,
    target_tokenize_fn: Tokenize | None = None,
    target_detokenize_fn: Detokenize | None = None,
) -> ExecutionStats:
    """Scores translations, one sentence a line: ``score ||| target``.

    The score is the mean log-probability of the target's tokens, its end token included. With
    `with_tokens_score`, the log-probability of each token follows behind another ``|||``. Other
    arguments and errors as in :func:`translate_file`.
    """
    del read_batch_size
    _check_different(output_path, source_path, target_path)
    start = time.perf_counter()
    examples = tokens = 0
    with contextlib.ExitStack() as stack:
        results = translator.score_iterable(
            _tokens(source_path, source_tokenize_fn, stack),
            _tokens(target_path, target_tokenize_fn, stack),
            max_batch_size=max_batch_size,
            batch_type=batch_type,
            max_input_length=max_input_length,
            offset=offset,
        )
        output = stack.enter_context(_writer(output_path))
        for result in results:
            examples += 1
            tokens += len(result.tokens)
            line = _line(result.tokens[:-1], target_detokenize_fn)
            scores = " ".join(f"{value:.6f}" for value in result.log_probs)
            more = f" ||| {scores}" if with_tokens_score else ""
            output.write(f"{result.normalized_score:.6f} ||| {line}{more}\n")
    return ExecutionStats(examples, tokens, 1000 * (time.perf_counter() - start))


def _reader(path: str | os.PathLike[str]) -> BinaryIO:
    return open(path, "rb")


def _writer(path: str | os.PathLike[str]) -> TextIO:
    return open(path, "w", encoding="utf-8", newline="\n")


def _tokens(
    path: str | os.PathLike[str], tokenize: Tokenize | None, stack: contextlib.ExitStack
) -> Iterator[list[str]]:
    """The tokens of each line of a file, which is opened at once."""
    file = stack.enter_context(_reader(path))
    split = _TOKEN.findall if tokenize is None else tokenize
    return (split(line) for line in _lines(file, os.fspath(path)))


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    # Only "\n" ends a line; other ends of lines are part of the text.
    for number, line in enumerate(file, 1):
        try:
            yield line.removesuffix(b"\n").decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name}, line {number}: byte {error.start + 1} of the line, "
                f"0x{line[error.start]:02x}, is not UTF-8 text"
            ) from None


def _line(tokens: list[str], detokenize: Detokenize | None) -> str:
    return " ".join(tokens) if detokenize is None else detokenize(tokens).replace("\n", " ")


def _check_different(
    output: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None
) -> None:
    for path in inputs:
        if path is not None and os.path.exists(output) and os.path.samefile(output, path):
            raise OptionError(f"{os.fspath(output)}: is the input too; writing would destroy it")
