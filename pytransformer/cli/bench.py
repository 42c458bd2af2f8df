"""`pytransformer bench`: how fast the engine is on this machine, and why not faster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytransformer.cli.outputs import check_output
from pytransformer.errors import OptionError
from pytransformer.option_rules import Integer

# The benchmark package is imported when the command runs: `translate` must not wait for it.

_DESCRIPTION = """\
Measures latency, throughput, load time and memory, and beside them the machine's own limits: how
many operations it can do and how fast it reads. Then shows stage by stage how much of that was
reached. Without MODEL, the bundled model translates text that comes with the package."""

_THREADS = Integer(0, 1024)
_COUNT = Integer(1, 2**31 - 1)


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench", help="measure speed and memory on this machine", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a checkpoint or a native model file; by default the bundled model",
    )
    parser.add_argument(
        "--shape", metavar="NAME", help="random weights instead: base, base32k or tiny"
    )
    parser.add_argument(
        "--compute-type", metavar="T", default="default", help="number format of the weights"
    )
    _add_numbers(parser)
    parser.add_argument(
        "--sentences", metavar="FILE", type=Path, help="text to translate, a sentence in each line"
    )
    parser.add_argument(
        "--compare",
        metavar="A,B",
        type=_names,
        default=[],
        help="engines to run beside: ctranslate2, transformers",
    )
    parser.add_argument(
        "--cache", metavar="DIR", type=Path, help="keep the models made for the benchmark in DIR"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the result as JSON; - is stdout, and only that"
    )
    parser.add_argument(
        "--plot", metavar="FILE.png", help="draw the roofline and the latencies (needs matplotlib)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measures; what can be wrong before is found before."""
    if arguments.shape is not None and arguments.model is not None:
        raise OptionError("give either MODEL or --shape, not both")
    for output in (arguments.json, arguments.plot):
        if output is not None and output != "-":
            check_output(output)

    from pytransformer.benchmark import peers, report, session

    if arguments.plot is not None:
        from pytransformer.benchmark import plot

        plot.check_installed()
    settings = session.Settings(
        model=arguments.model,
        shape=arguments.shape,
        compute_type=arguments.compute_type,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        beam_size=arguments.beam_size,
        length=arguments.length,
        sentences=arguments.sentences,
        limit=arguments.limit,
        rounds=arguments.rounds,
        peers=peers.find(arguments.compare),
        cache=arguments.cache,
    )
    status = _Status()
    try:
        result = session.run(settings, status.show)
    finally:
        status.clear()
    if arguments.json is not None:
        _write_json(arguments.json, report.as_json(result))
    if arguments.plot is not None:
        plot.draw(result, arguments.plot)
    if arguments.json != "-":
        sys.stdout.write(report.text(result))
    return 0


class _Status:
    """One line on the terminal that says what is being done; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._stream = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
        self._width = 0

    def show(self, message: str) -> None:
        """Replaces the line."""
        if self._stream is not None:
            self._stream.write("\r" + message.ljust(self._width))
            self._stream.flush()
            self._width = len(message)

    def clear(self) -> None:
        """Removes it."""
        self.show("")
        if self._stream is not None:
            self._stream.write("\r")
            self._stream.flush()


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    numbers: list[tuple[str, Integer, int | None, str]] = [
        ("threads", _THREADS, 0, "cores to use; 0, the default, means all that there are"),
        ("batch-size", _COUNT, 1, "sentences in one call; 1, the default, measures latency"),
        ("beam-size", _COUNT, None, "by default as the model's checkpoint says"),
        (
            "length",
            _COUNT,
            None,
            "tokens of every translation; by default 32 with --shape, else each ends by itself",
        ),
        ("rounds", _COUNT, 5, "how often all sentences are translated; 5 by default"),
        ("limit", _COUNT, None, "use only the first N sentences"),
    ]
    for name, rule, default, text in numbers:
        parser.add_argument(
            f"--{name}", metavar="N", type=_integer(rule), default=default, help=text
        )


def _integer(rule: Integer) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            return rule.convert(rule.parse(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}, expected {rule.expected}") from None

    return read


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _write_json(path: str, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")
