"""`pytransformer shortlist`: a lexical shortlist from text and its translation."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from pytransformer.cli.outputs import check_output
from pytransformer.cli.progress import Progress
from pytransformer.errors import OptionError
from pytransformer.model_files import open_model
from pytransformer.option_rules import Integer, Number
from pytransformer.packed_files import open_unpacked
from pytransformer.tokenizers import Tokenizer

# NumPy and what needs it are imported when the command runs: `translate` must not wait for them.

_DESCRIPTION = """\
Learns from sentences and their translations, line by line, which target tokens translate each
source token (IBM Model 1), and writes them to OUT in Marian's text form: target token, source
token and probability, the likeliest first. Inputs may be gzipped, and OUT is if its name ends in
.gz."""

_ITERATIONS = Integer(1, 1000)
_THRESHOLD = Number(0, 1)
# Lines between two states of the progress bar.
_STEP = 1024

_Tokens = Callable[[str], list[str]]


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "shortlist", help="make a lexical shortlist from translated text", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("output", metavar="OUT", help="the file to write")
    parser.add_argument("--source", metavar="FILE", required=True, help="sentences, one a line")
    parser.add_argument(
        "--target", metavar="FILE", required=True, help="their translations, one a line"
    )
    parser.add_argument(
        "--model",
        help="a checkpoint or a native model file whose tokens to use; by default the bundled one",
    )
    parser.add_argument("--from", dest="src_lang", metavar="LANG", help="language of --source")
    parser.add_argument("--to", dest="tgt_lang", metavar="LANG", help="language of --target")
    parser.add_argument(
        "--tokenized",
        action="store_true",
        help="both files hold tokens with spaces between them; no model is used",
    )
    parser.add_argument(
        "--iterations",
        metavar=_ITERATIONS.metavar,
        type=_reader(_ITERATIONS),
        default=5,
        help="passes over the text; 5 by default",
    )
    parser.add_argument(
        "--threshold",
        metavar=_THRESHOLD.metavar,
        type=_reader(_THRESHOLD),
        default=0.0001,
        help="leave out smaller probabilities; 0.0001 by default",
    )


def run(arguments: argparse.Namespace) -> int:
    """Learns and writes; what can be wrong before is found before."""
    if arguments.tokenized and (arguments.model or arguments.src_lang or arguments.tgt_lang):
        raise OptionError("--tokenized uses no model: drop --model, --from and --to, or drop it")
    _check_output(arguments)
    source_tokens, target_tokens = _tokenizers(arguments)

    from pytransformer.induction import induce
    from pytransformer.shortlist import write_text

    sources, targets = _Numbers(), _Numbers()
    id_pairs = (
        (sources.of(source_tokens(source)), targets.of(target_tokens(target)))
        for source, target in _line_pairs(arguments.source, arguments.target)
    )
    with contextlib.closing(_Bar()) as bar:
        table = induce(
            _taught(id_pairs, f"{arguments.source}, {arguments.target}"),
            iterations=arguments.iterations,
            threshold=arguments.threshold,
            progress=bar.show,
        )
    source_names, target_names = list(sources.known), list(targets.known)
    columns = (table.sources.tolist(), table.targets.tolist(), table.probabilities.tolist())
    count = write_text(
        arguments.output,
        ((target_names[t], source_names[s], p) for s, t, p in zip(*columns, strict=True)),
    )
    print(f"{arguments.output}: {count:,} pairs of tokens")
    return 0


class _Numbers:
    """Numbers tokens in the order in which they come."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, tokens: list[str]) -> list[int]:
        known = self.known
        return [known.setdefault(token, len(known)) for token in tokens]


def _reader(rule: Integer | Number) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return rule.convert(rule.parse(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}, expected {rule.expected}") from None

    return read


def _check_output(arguments: argparse.Namespace) -> None:
    """Makes sure, as far as can be known, that OUT can be written at the end."""
    output: str = arguments.output
    if os.path.exists(output) and not os.path.isfile(output):
        # Renaming onto a device would replace it.
        raise OptionError(f"{output}: exists and is not a file, expected the name of a file")
    check_output(output, (arguments.source, arguments.target))


def _tokenizers(arguments: argparse.Namespace) -> tuple[_Tokens, _Tokens]:
    """What cuts lines of the two sides into tokens."""
    if arguments.tokenized:
        return _words, _words
    tokenizer = open_model(arguments.model).tokenizer
    languages = {"src_lang": arguments.src_lang, "tgt_lang": arguments.tgt_lang}
    tokenizer.encode("", **languages)  # raises if the model does not know a language
    prefixes = {f">>{language}<<" for language in tokenizer.target_languages}
    return _source_tokens(tokenizer, languages, prefixes), tokenizer.encode_target


def _words(line: str) -> list[str]:
    # As bytes, for which white space is that of C: pieces may hold other white space of Unicode.
    return [word.decode() for word in line.encode().split()]


def _source_tokens(
    tokenizer: Tokenizer, languages: dict[str, str | None], prefixes: set[str]
) -> _Tokens:
    """Source tokens without the language's prefix, which no target token translates."""

    def tokens(line: str) -> list[str]:
        found = tokenizer.encode(line, **languages)
        return found[1:] if found and found[0] in prefixes else found

    return tokens


# --- input -------------------------------------------------------------------------------------


def _line_pairs(source: str, target: str) -> Iterator[tuple[str, str]]:
    """The lines of two files that belong together; shows how many were read."""
    left, right = _lines(source), _lines(target)
    with contextlib.closing(Progress(_terminal(), None)) as progress:
        for count, (one, other) in enumerate(itertools.zip_longest(left, right)):
            if one is None or other is None:
                shorter, longer = (source, target) if one is None else (target, source)
                more = count + 1 + sum(1 for _ in (right if one is None else left))
                raise OptionError(
                    f"{longer} has {more:,} lines, but {shorter} has {count:,}; expected as many "
                    "in both"
                )
            if count % _STEP == 0:
                progress.show(count, 0)
            yield one, other


def _lines(path: str) -> Iterator[str]:
    """The lines of a file without their ends; only the newline ends one."""
    with open_unpacked(path, OptionError) as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.removesuffix(b"\n").decode()
            except UnicodeDecodeError as error:
                raise OptionError(
                    f"{path}, line {number}: byte {error.start + 1} of the line, "
                    f"0x{line[error.start]:02x}, is not UTF-8 text"
                ) from None


def _taught(
    pairs: Iterable[tuple[list[int], list[int]]], names: str
) -> Iterator[tuple[list[int], list[int]]]:
    """The pairs that have tokens on both sides; OptionError if there is none."""
    empty = True
    for source, target in pairs:
        if source and target:
            empty = False
            yield source, target
    if empty:
        raise OptionError(f"{names}: no line has text on both sides")


# --- progress ----------------------------------------------------------------------------------


class _Bar:
    """The progress bar of the iterations; their time does not count the reading before."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def show(self, done: int, total: int) -> None:
        if self._progress is None:
            self._progress = Progress(_terminal(), total)
        self._progress.show(done, done)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()


def _terminal() -> TextIO | None:
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
