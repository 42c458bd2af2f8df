"""Converts models of OPUS-MT as Marian stores them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pytransformer.ctranslate2.converters.converter import Converter, Source, main_parser
from pytransformer.loaders import marian


class OpusMTConverter(Converter):
    """Converts a model of OPUS-MT from its directory, whose decoder.yml names its files."""

    def __init__(self, model_dir: str) -> None:
        """Says what to convert: the model's directory."""
        self._directory = Path(model_dir)

    @contextlib.contextmanager
    def _load(self) -> Iterator[Source]:
        if not (self._directory / "decoder.yml").is_file():
            raise ValueError(f"{self._directory}: there is no decoder.yml")
        yield Source(marian.load(self._directory), add_source_eos=True)


def main() -> None:
    """The command ct2-opus-mt-converter."""
    parser = main_parser()
    parser.add_argument("--model_dir", required=True, help="directory of the model")
    Converter.declare_arguments(parser)
    args = parser.parse_args()
    OpusMTConverter(args.model_dir).convert_from_args(args)


if __name__ == "__main__":
    main()
