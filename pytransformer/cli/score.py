"""`pytransformer score`: what a model thinks of given translations."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from pytransformer import _native
from pytransformer.cli.arguments import add_flags, given, thread_count
from pytransformer.confidence import word_confidences
from pytransformer.errors import OptionError
from pytransformer.inputs import InputLengthError
from pytransformer.results import ScoringResult
from pytransformer.settings import SETTINGS
from pytransformer.translator import Translator

_DESCRIPTION = """\
Writes for each line of --target, the translation of the same line of --source, its mean
log-probability by token, the end token included; 0 is certain. With --tokens, " ||| " follows, and
each word with the model's confidence in it, from 0 to 1."""

# Translations that are given need no shortlist.
_SETTINGS = {"compute_type": SETTINGS["compute_type"]}

_CHUNK = 256


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "score", help="score given translations", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--model", help="a checkpoint or a native model file; by default the bundled model"
    )
    parser.add_argument("--source", metavar="FILE", required=True, help="lines of text")
    parser.add_argument("--target", metavar="FILE", required=True, help="their translations")
    parser.add_argument("--from", dest="src_lang", metavar="LANG", help="language of the text")
    parser.add_argument("--to", dest="tgt_lang", metavar="LANG", help="language of translations")
    parser.add_argument("--tokens", action="store_true", help="write the confidence of each word")
    parser.add_argument(
        "--threads",
        type=thread_count,
        metavar="N",
        default=0,
        help="cores to use; 0, the default, means all that this process may use",
    )
    add_flags(parser, _SETTINGS)


def run(arguments: argparse.Namespace) -> int:
    """Scores line by line; what was done before a mistake stays written."""
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(open(path, "rb")) for path in (arguments.source, arguments.target)
        ]
        threads = arguments.threads or _native.available_threads()
        translator = Translator(
            arguments.model, inter_threads=threads, intra_threads=1, **given(arguments, _SETTINGS)
        )
        scorer = _Scorer(translator, arguments)
        sides = [_lines(file) for file in files]
        for chunk in _chunks(_pairs(sides[0], sides[1], arguments)):
            sys.stdout.writelines(scorer.score(chunk))
            sys.stdout.flush()
    return 0


class _Scorer:
    """Turns pairs of lines to the lines that are written."""

    def __init__(self, translator: Translator, arguments: argparse.Namespace) -> None:
        self._translator = translator
        self._arguments = arguments
        self._done = 0

    def score(self, pairs: list[tuple[str, str]]) -> list[str]:
        tokenizer = self._translator.tokenizer
        languages = {
            "src_lang": self._arguments.src_lang,
            "tgt_lang": self._arguments.tgt_lang,
        }
        sources = [tokenizer.encode(source, **languages) for source, _ in pairs]
        first = self._translator.language_options(self._arguments.tgt_lang).get(
            "forced_bos_token_id"
        )
        start = [] if first is None else tokenizer.target_tokens([first])
        targets = [[*start, *tokenizer.encode_target(target)] for _, target in pairs]
        self._check_lengths(targets)
        try:
            found = self._translator.score_batch(sources, targets)
        except InputLengthError as error:
            raise self._error(self._arguments.source, error.index, error.reason) from None
        self._done += len(pairs)
        return [self._line(result) for result in found]

    def _line(self, result: ScoringResult) -> str:
        score = f"{result.normalized_score:.6f}"
        if not self._arguments.tokens:
            return f"{score}\n"
        words = word_confidences(
            result.tokens,
            result.log_probs,
            words=self._translator.tokenizer.words(result.tokens),
        )
        return f"{score} ||| {' '.join(f'{w.word} {w.confidence:.4f}' for w in words)}\n"

    def _check_lengths(self, targets: list[list[str]]) -> None:
        reach = self._translator.limits.max_decoding_length
        for index, tokens in enumerate(targets):
            if reach is not None and len(tokens) >= reach:
                reason = f"has {len(tokens)} tokens, but this model's positions reach {reach - 1}"
                raise self._error(self._arguments.target, index, reason)

    def _error(self, path: str, index: int, reason: str) -> OptionError:
        return OptionError(f"{path}, line {self._done + index + 1} {reason}")


def _lines(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            yield line.decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise OptionError(
                f"{file.name}, line {number}: byte {error.start + 1} of the line, "
                f"0x{line[error.start]:02x}, is not UTF-8 text"
            ) from None


def _pairs(
    sources: Iterator[str], targets: Iterator[str], arguments: argparse.Namespace
) -> Iterator[tuple[str, str]]:
    for source, target in itertools.zip_longest(sources, targets):
        if source is None or target is None:
            raise OptionError(
                f"{arguments.source} and {arguments.target} differ in their number of lines"
            )
        yield source, target


def _chunks(pairs: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Lists of pairs; those before a mistake come before it is raised."""
    chunk = []
    try:
        for pair in pairs:
            chunk.append(pair)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except OptionError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
