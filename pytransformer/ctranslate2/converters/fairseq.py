"""Converts models of fairseq."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pytransformer.ctranslate2.converters.converter import Converter, Source, main_parser
from pytransformer.ctranslate2.converters.linked import files_in, linked_files
from pytransformer.loaders import fairseq

_CHECKPOINT = "checkpoint_best.pt"


class FairseqConverter(Converter):
    """Converts a checkpoint of fairseq with the dictionaries of its data directory."""

    def __init__(
        self,
        model_path: str,
        data_dir: str,
        source_lang: str | None = None,
        target_lang: str | None = None,
        fixed_dictionary: str | None = None,
        no_default_special_tokens: bool = False,
        user_dir: str | None = None,
        unsafe_deserialization: bool = False,
    ) -> None:
        """Says what to convert.

        Args:
            model_path: the checkpoint, a .pt file.
            data_dir: the directory with dict.xx.txt of both languages.
            source_lang: must be None: the checkpoint says what its languages are.
            target_lang: must be None.
            fixed_dictionary: must be None.
            no_default_special_tokens: add nothing to sources, and start the decoder with the first
                token of each target prefix.
            user_dir: must be None, no code of a model is ever run.
            unsafe_deserialization: without effect, nothing in a checkpoint is ever executed.
        """
        del unsafe_deserialization
        if any(value is not None for value in (source_lang, target_lang, fixed_dictionary)):
            raise NotImplementedError(
                "source_lang, target_lang and fixed_dictionary are not supported"
            )
        if user_dir is not None:
            raise NotImplementedError("user_dir is not supported")
        self._model_path = model_path
        self._data_dir = data_dir
        self._plain = no_default_special_tokens

    @contextlib.contextmanager
    def _load(self) -> Iterator[Source]:
        if not os.path.isfile(self._model_path):
            raise ValueError(f"File {self._model_path} does not exist")
        if not os.path.isdir(self._data_dir):
            raise ValueError(f"{self._data_dir}: no such directory")
        with linked_files({**files_in(self._data_dir), _CHECKPOINT: self._model_path}) as linked:
            checkpoint = fairseq.load(linked / _CHECKPOINT)
            start = None if self._plain else ""
            yield Source(checkpoint, add_source_eos=not self._plain, decoder_start_token=start)


def main() -> None:
    """The command ct2-fairseq-converter."""
    parser = main_parser()
    parser.add_argument("--model_path", required=True, help="the checkpoint")
    parser.add_argument("--data_dir", required=True, help="directory with the dictionaries")
    for name in ("user_dir", "fixed_dictionary", "source_lang", "target_lang"):
        parser.add_argument(f"--{name}", help="not supported")
    parser.add_argument(
        "--no_default_special_tokens",
        action="store_true",
        help="add no special tokens: sources and prefixes hold them",
    )
    parser.add_argument("--unsafe_deserialization", action="store_true", help="without effect")
    Converter.declare_arguments(parser)
    args = parser.parse_args()
    converter = FairseqConverter(
        args.model_path,
        args.data_dir,
        source_lang=args.source_lang,
        target_lang=args.target_lang,
        fixed_dictionary=args.fixed_dictionary,
        no_default_special_tokens=args.no_default_special_tokens,
        user_dir=args.user_dir,
    )
    converter.convert_from_args(args)


if __name__ == "__main__":
    main()
