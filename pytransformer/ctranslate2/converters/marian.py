"""Converts models of Marian."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pytransformer.ctranslate2.converters.converter import Converter, Source, main_parser
from pytransformer.ctranslate2.converters.linked import files_in, linked_files
from pytransformer.loaders import marian


class MarianConverter(Converter):
    """Converts a model of Marian with the vocabularies that are given."""

    def __init__(self, model_path: str, vocab_paths: list[str]) -> None:
        """Says what to convert.

        Args:
            model_path: the model, an .npz or .bin file.
            vocab_paths: the vocabularies of source and target, .yml or .spm; one may serve both.
        """
        self._model_path = model_path
        self._vocab_paths = vocab_paths

    @contextlib.contextmanager
    def _load(self) -> Iterator[Source]:
        for path in (self._model_path, *self._vocab_paths):
            if not os.path.isfile(path):
                raise ValueError(f"File {path} does not exist")
        paths = [self._vocab_paths[0], self._vocab_paths[-1]]
        named = {f"{i}-{os.path.basename(path)}": path for i, path in enumerate(paths)}
        model = os.path.basename(self._model_path)
        directory = os.path.dirname(os.path.abspath(self._model_path))
        with linked_files({**files_in(directory), **named}) as linked:
            decoder = linked / f"{model}.decoder.yml"
            decoder.unlink(missing_ok=True)
            lines = ["models:", f"  - {model}", "vocabs:", *(f"  - {name}" for name in named)]
            decoder.write_text("\n".join([*lines, ""]), encoding="utf-8")
            yield Source(marian.load(linked / model), add_source_eos=True)


def main() -> None:
    """The command ct2-marian-converter."""
    parser = main_parser()
    parser.add_argument("--model_path", required=True, help="the model")
    parser.add_argument(
        "--vocab_paths", required=True, nargs="+", help="the vocabularies of source and target"
    )
    Converter.declare_arguments(parser)
    args = parser.parse_args()
    MarianConverter(args.model_path, args.vocab_paths).convert_from_args(args)


if __name__ == "__main__":
    main()
