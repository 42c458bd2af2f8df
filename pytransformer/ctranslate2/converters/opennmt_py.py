"""Converts models of OpenNMT-py."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pytransformer.ctranslate2.converters.converter import Converter, Source, main_parser
from pytransformer.loaders import opennmt_py


class OpenNMTPyConverter(Converter):
    """Converts a checkpoint of OpenNMT-py."""

    def __init__(self, model_path: str, unsafe_deserialization: bool = False) -> None:
        """Says what to convert.

        Args:
            model_path: the checkpoint, a .pt file.
            unsafe_deserialization: without effect, nothing in a checkpoint is ever executed.
        """
        del unsafe_deserialization
        self._model_path = model_path

    @contextlib.contextmanager
    def _load(self) -> Iterator[Source]:
        if not os.path.isfile(self._model_path):
            raise ValueError(f"File {self._model_path} does not exist")
        yield Source(opennmt_py.load(Path(self._model_path)), add_source_eos=False)


def main() -> None:
    """The command ct2-opennmt-py-converter."""
    parser = main_parser()
    parser.add_argument("--model_path", required=True, help="the checkpoint")
    parser.add_argument("--unsafe_deserialization", action="store_true", help="without effect")
    Converter.declare_arguments(parser)
    args = parser.parse_args()
    OpenNMTPyConverter(args.model_path).convert_from_args(args)


if __name__ == "__main__":
    main()
