"""Converts models of Hugging Face Transformers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pytransformer.ctranslate2.converters.converter import Converter, Source, main_parser
from pytransformer.model_files import read_checkpoint


class TransformersConverter(Converter):
    """Converts a model of Hugging Face Transformers from its directory."""

    def __init__(
        self,
        model_name_or_path: str,
        activation_scales: str | None = None,
        copy_files: list[str] | None = None,
        load_as_float16: bool = False,
        revision: str | None = None,
        low_cpu_mem_usage: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        """Says what to convert.

        Args:
            model_name_or_path: the model's directory; nothing is downloaded.
            activation_scales: must be None.
            copy_files: files of the directory to put beside the model.
            load_as_float16: without effect, weights are read as float32.
            revision: must be None, a directory has one only.
            low_cpu_mem_usage: without effect, weights are always read one after another.
            trust_remote_code: without effect, no code of a model is ever run.
        """
        del load_as_float16, low_cpu_mem_usage, trust_remote_code
        if activation_scales is not None or revision is not None:
            raise NotImplementedError("activation_scales and revision are not supported")
        self._directory = model_name_or_path
        self._copy_files = copy_files or []

    @contextlib.contextmanager
    def _load(self) -> Iterator[Source]:
        if not os.path.isdir(self._directory):
            raise ValueError(
                f"{self._directory}: no such directory; download the model first, nothing is "
                "downloaded here"
            )
        files = {}
        for name in self._copy_files:
            path = os.path.join(self._directory, name)
            if not os.path.isfile(path):
                raise ValueError(f"File {name} does not exist in model {self._directory}")
            files[os.path.basename(name)] = path
        # Users of Transformers' tokenizers give sources with the end token.
        yield Source(read_checkpoint(self._directory), add_source_eos=False, files=files)


def main() -> None:
    """The command ct2-transformers-converter."""
    parser = main_parser()
    parser.add_argument("--model", required=True, help="directory of the model")
    parser.add_argument("--activation_scales", help="not supported")
    parser.add_argument("--copy_files", nargs="+", help="files to put beside the model")
    parser.add_argument("--revision", help="not supported")
    parser.add_argument("--low_cpu_mem_usage", action="store_true", help="without effect")
    parser.add_argument("--trust_remote_code", action="store_true", help="without effect")
    Converter.declare_arguments(parser)
    args = parser.parse_args()
    converter = TransformersConverter(
        args.model,
        activation_scales=args.activation_scales,
        copy_files=args.copy_files,
        revision=args.revision,
    )
    converter.convert_from_args(args)


if __name__ == "__main__":
    main()
