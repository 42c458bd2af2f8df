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
from pytransformer.cli.arguments import add_flags, given
from pytransformer.cli.lines import LineReader
from pytransformer.cli.progress import Progress
from pytransformer.errors import OptionError
from pytransformer.options import OPTIONS
from pytransformer.translator import SETTINGS, THREADS, InputLengthError, Translator

_DESCRIPTION = """\
Translates each TEXT, or each line of a file or of stdin, to one line of UTF-8. Lines are translated
in order and written as soon as they are ready, also to --output; empty ones stay empty."""

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
        type=_thread_count,
        metavar="N",
        default=0,
        help="cores to use; 0, the default, means all that this process may use",
    )
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
        translator = _open_translator(arguments, one_by_one=waiting_user)
        options = given(arguments, OPTIONS)
        options.update(src_lang=arguments.src_lang, tgt_lang=arguments.tgt_lang)
        translator.translate([], **options)  # raises if an option or a language is wrong
        output = _open_output(arguments.output, reader, stack)
        if reader is None:
            _write(output, translator.translate(arguments.text, **options))
        else:
            progress = Progress(*_progress_settings(reader, output))
            stack.callback(progress.close)
            _translate_lines(translator, reader, options, output, progress)
    return 0


def _thread_count(text: str) -> int:
    try:
        return THREADS.convert(THREADS.parse(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {THREADS.expected}") from None


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
    translator: Translator,
    reader: LineReader,
    options: dict[str, Any],
    output: BinaryIO,
    progress: Progress,
) -> None:
    for lines in reader.chunks():
        try:
            _write(output, translator.translate(lines, **options))
        except InputLengthError as error:
            number = reader.lines_read - len(lines) + error.index + 1
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
