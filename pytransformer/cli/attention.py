"""`pytransformer attention`: what a model looks at while it translates."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pytransformer.attention import Alignment, AttentionMaps, plot_attention, write_page
from pytransformer.attention.maps import KINDS
from pytransformer.attention.plot import check_picture
from pytransformer.cli.arguments import add_flags, given
from pytransformer.cli.outputs import check_output
from pytransformer.errors import OptionError
from pytransformer.options import OPTIONS
from pytransformer.translator import SETTINGS, Translator

_DESCRIPTION = """\
Translates TEXT, or takes the translation that --target gives, and shows what the heads of the model
look at. By default it prints which word of TEXT each word of the translation looks at most. Layers
and heads are counted from 0, or from -1, the last, down."""


# All tokens are looked at, so a shortlist would do nothing.
_SETTINGS = {"compute_type": SETTINGS["compute_type"]}


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "attention", help="show what a model looks at", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("text", metavar="TEXT", help="one sentence; quote it")
    parser.add_argument(
        "--model", help="a checkpoint or a native model file; by default the bundled model"
    )
    parser.add_argument("--from", dest="src_lang", metavar="LANG", help="language of the text")
    parser.add_argument("--to", dest="tgt_lang", metavar="LANG", help="language to translate to")
    parser.add_argument("--target", metavar="TEXT", help="a translation to look at instead")
    add_flags(parser, _SETTINGS)
    _add_views(parser)
    decoding = parser.add_argument_group("decoding", "By default as the model's checkpoint says.")
    add_flags(decoding, OPTIONS)


def run(arguments: argparse.Namespace) -> int:
    """Shows attention; what can be wrong with a file is found before the model is opened."""
    _check(arguments)
    translator = Translator(arguments.model, **given(arguments, _SETTINGS))
    maps = translator.attention(
        arguments.text,
        target=arguments.target,
        src_lang=arguments.src_lang,
        tgt_lang=arguments.tgt_lang,
        **given(arguments, OPTIONS),
    )
    if arguments.plot is not None:
        plot_attention(
            maps,
            arguments.plot,
            kind=arguments.kind,
            layers=arguments.layer,
            heads=arguments.head,
        )
    if arguments.html is not None:
        write_page(maps, arguments.html, title=arguments.text)
    if arguments.align:
        print(_alignment(maps, arguments).to_pharaoh())
    elif arguments.plot is None and arguments.html is None:
        sys.stdout.write(_table(_alignment(maps, arguments)))
    return 0


def _add_views(parser: argparse.ArgumentParser) -> None:
    views = parser.add_argument_group("views")
    views.add_argument(
        "--plot", metavar="FILE", help="draw heat maps as .png, .svg or .pdf (needs matplotlib)"
    )
    views.add_argument("--html", metavar="FILE", help="write a page to explore all heads in")
    views.add_argument(
        "--align", action="store_true", help="print links between words, such as 0-0 1-2"
    )
    views.add_argument(
        "--kind", choices=KINDS, default="cross", help="which attention --plot draws (cross)"
    )
    views.add_argument(
        "--layer",
        metavar="N,N",
        type=_numbers,
        help="layers to draw; for words, the one to use (all are drawn, words use the last)",
    )
    views.add_argument("--head", metavar="N,N", type=_numbers, help="heads to use (all)")
    views.add_argument(
        "--threshold",
        metavar="X",
        type=float,
        help="link words with all words of a greater weight, not with one alone",
    )


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected integers such as 0,3") from None


def _check(arguments: argparse.Namespace) -> None:
    for output in (arguments.plot, arguments.html):
        if output is not None:
            check_output(output)
    if arguments.plot is not None:
        check_picture(arguments.plot)


def _alignment(maps: AttentionMaps, arguments: argparse.Namespace) -> Alignment:
    layers = arguments.layer or [-1]
    if len(layers) > 1:
        raise OptionError("--layer names several layers, but words are linked by one")
    return maps.word_alignment(layer=layers[0], heads=arguments.head, threshold=arguments.threshold)


def _table(alignment: Alignment) -> str:
    """The translation, and a line for each link."""
    links = sorted(
        alignment.links, key=lambda link: (link[1], -alignment.weights[link[1], link[0]])
    )
    lines = [
        (
            alignment.target_words[target],
            alignment.source_words[source],
            f"{alignment.weights[target, source]:.2f}",
        )
        for source, target in links
    ]
    width = max((len(target) for target, _, _ in lines), default=0)
    middle = max((len(source) for _, source, _ in lines), default=0)
    rows = [
        f"{target:<{width}}  {source:<{middle}}  {weight}\n" for target, source, weight in lines
    ]
    return " ".join(alignment.target_words) + "\n\n" + "".join(rows)
