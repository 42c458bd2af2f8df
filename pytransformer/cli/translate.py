"""`pytransformer translate`: texts, lines of a file, or lines of stdin."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import stat
import sys
from typing import Any, BinaryIO, TextIO

from pytransformer import _native
from pytransformer.cli.arguments import add_flags, given, read_as, thread_count
from pytransformer.cli.glossary_file import read_glossary
from pytransformer.cli.lines import LineReader
from pytransformer.cli.progress import Progress
from pytransformer.errors import OptionError
from pytransformer.glossary import MODES
from pytransformer.inputs import InputLengthError
from pytransformer.options import OPTIONS
from pytransformer.settings import SETTINGS
from pytransformer.translator import Translator

_DESCRIPTION = """\
Translates each TEXT, or each line of a file or of stdin, to one line of UTF-8. Lines are translated
in order and written as soon as they are ready, also to --output; empty ones stay empty. With
--n-best, a line is "number ||| translation ||| score", and numbers of lines begin with 0; with
--scores alone, it is "score ||| translation"."""

# Lines per chunk of input: results of a file start to appear after the first few, and chunks then
# grow so that the end of one, where the batch runs empty, weighs little.
_FIRST_CHUNK = 64
_MOST_LINES = 1024


def add_parser(commands: Any) -> None:
    """Declares the command and its options; most come from where the Python API declares them."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "translate", help="translate text, a file or stdin", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="a text to translate; quote it")
    parser.add_argument(
        "--model", help="a checkpoint or a native model file; by default the bundled model"
    )
    parser.add_argument("--from", dest="src_lang", metavar="LANG", help="language of the text")
    parser.add_argument("--to", dest="tgt_lang", metavar="LANG", help="language to translate to")
    parser.add_argument("--input", metavar="FILE", help="read lines from FILE, not from stdin")
    parser.add_argument("--output", metavar="FILE", help="write lines to FILE, not to stdout")
    parser.add_argument(
        "--threads",
        type=thread_count,
        metavar="N",
        default=0,
        help="cores to use; 0, the default, means all that this process may use",
    )
    parser.add_argument("--scores", action="store_true", help="write scores beside translations")
    parser.add_argument(
        "--n-best",
        dest="num_hypotheses",
        metavar="N",
        type=read_as(OPTIONS["num_hypotheses"].rule),
        help="write the N best translations of each line; needs as many beams or samples",
    )
    parser.add_argument("--prefix", metavar="TEXT", help="how every translation begins")
    parser.add_argument(
        "--glossary",
        metavar="FILE",
        help="how terms are to be translated: UTF-8 lines of a term, a tab and its translation",
    )
    parser.add_argument(
        "--glossary-mode",
        choices=MODES,
        help="phrases, the default, makes the search say the translations; placeholders has the "
        "model carry something in place of the terms",
    )
    parser.add_argument("--shortlist", metavar="FILE", help="a lexical shortlist")
    add_flags(parser, SETTINGS)
    decoding = parser.add_argument_group("decoding", "By default as the model's checkpoint says.")
    add_flags(decoding, OPTIONS)


def run(arguments: argparse.Namespace) -> int:
    """Translates; what can be wrong before the first line is found before anything is written."""
    with contextlib.ExitStack() as stack:
        reader = None if arguments.text else _open_input(arguments.input, stack)
        if arguments.text and arguments.input is not None:
            raise OptionError("give either TEXT or --input, not both")
        waiting_user = reader is None or os.isatty(reader.descriptor)
        wanted = _wanted(arguments)
        translator = _open_translator(arguments, one_by_one=waiting_user)
        lines = _Lines(translator, wanted, arguments)
        lines.translate([])  # raises if an option or a language is wrong
        output = _open_output(arguments.output, reader, stack)
        if reader is None:
            _write(output, lines.translate(arguments.text))
        else:
            progress = Progress(*_progress_settings(reader, output))
            stack.callback(progress.close)
            _translate_lines(lines, reader, output, progress)
    return 0


class _Lines:
    """Translates lines to lines, with numbers and scores if these are asked for."""

    def __init__(
        self, translator: Translator, wanted: dict[str, Any], arguments: argparse.Namespace
    ) -> None:
        self._translator = translator
        self._wanted = wanted
        self._numbered = arguments.num_hypotheses is not None
        self._scored = self._numbered or arguments.scores
        self._number = 0

    def translate(self, lines: list[str]) -> list[str]:
        if not self._scored:
            return self._translator.translate(lines, **self._wanted)
        single = [line for text in lines for line in text.split("\n")]
        written = []
        for found in self._translator.translate_n_best(single, **self._wanted):
            for one in found:
                if self._numbered:
                    written.append(f"{self._number} ||| {one.text} ||| {one.score:.6f}")
                else:
                    written.append(f"{one.score:.6f} ||| {one.text}")
            self._number += 1
        return written


def _wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is asked of every line."""
    wanted = given(arguments, OPTIONS)
    wanted.update(
        src_lang=arguments.src_lang,
        tgt_lang=arguments.tgt_lang,
        target_prefix=arguments.prefix,
    )
    if arguments.glossary is not None:
        wanted["glossary"] = read_glossary(arguments.glossary)
    if arguments.glossary_mode is not None:
        if arguments.glossary is None:
            raise OptionError("--glossary-mode needs --glossary")
        wanted["glossary_mode"] = arguments.glossary_mode
    if arguments.shortlist is None:
        for name in ("shortlist_first", "shortlist_best"):
            if getattr(arguments, name) is not None:
                raise OptionError(f"{name} needs --shortlist")
    return wanted


def _open_input(path: str | None, stack: contextlib.ExitStack) -> LineReader:
    if path is None or path == "-":
        if sys.stdin is None:
            raise OptionError("stdin is closed; give TEXT or --input")
        descriptor, name = sys.stdin.fileno(), "stdin"
        if sys.stdin.isatty():
            print("Reading lines from the terminal; Ctrl-D ends.", file=sys.stderr)
    else:
        file = stack.enter_context(io.FileIO(path))
        descriptor, name = file.fileno(), path
    return LineReader(descriptor, name, first=_FIRST_CHUNK, most=_MOST_LINES)


def _open_translator(arguments: argparse.Namespace, *, one_by_one: bool) -> Translator:
    threads = arguments.threads or _native.available_threads()
    # With many lines, a worker for each core is faster than to share out every sentence.
    inter_threads, intra_threads = (1, threads) if one_by_one else (threads, 1)
    return Translator(
        arguments.model,
        inter_threads=inter_threads,
        intra_threads=intra_threads,
        shortlist=arguments.shortlist,
        **given(arguments, SETTINGS),
    )


def _open_output(
    path: str | None, reader: LineReader | None, stack: contextlib.ExitStack
) -> BinaryIO:
    if path is None or path == "-":
        if sys.stdout is None:
            raise OptionError("stdout is closed; give --output")
        return sys.stdout.buffer
    if reader is not None and os.path.exists(path):
        input_file, output_file = os.fstat(reader.descriptor), os.stat(path)
        if stat.S_ISREG(output_file.st_mode) and os.path.samestat(input_file, output_file):
            raise OptionError(f"{path}: is the input too; writing would destroy it")
    return stack.enter_context(open(path, "wb"))


def _translate_lines(
    lines: _Lines, reader: LineReader, output: BinaryIO, progress: Progress
) -> None:
    for chunk in reader.chunks():
        try:
            _write(output, lines.translate(chunk))
        except InputLengthError as error:
            number = reader.lines_read - len(chunk) + error.index + 1
            raise OptionError(f"{reader.name}, line {number} {error.reason}") from None
        progress.show(reader.lines_read, reader.bytes_read)


def _write(output: BinaryIO, lines: list[str]) -> None:
    try:
        output.write("".join(line + "\n" for line in lines).encode())
        output.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, output.name) from None


def _progress_settings(reader: LineReader, output: BinaryIO) -> tuple[TextIO | None, int | None]:
    """Where to draw the bar, and the size of the input if it is a file."""
    if sys.stderr is None or not sys.stderr.isatty() or output.isatty():
        return None, None
    status = os.fstat(reader.descriptor)
    return sys.stderr, status.st_size if stat.S_ISREG(status.st_mode) else None
