"""What all converters have in common."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytransformer.ctranslate2.converters.conversion import write_model
from pytransformer.ctranslate2.errors import as_ctranslate2
from pytransformer.ctranslate2.specs.model_spec import ACCEPTED_MODEL_TYPES
from pytransformer.model_spec import Checkpoint

# Ours, by CTranslate2's; floats that are narrower than the stored ones would only lose precision.
_COMPUTE_TYPES = {
    None: "default",
    "int8": "int8",
    "int8_float32": "int8",
    "int8_float16": "int8",
    "int8_bfloat16": "int8",
    "int16": "float32",
    "float16": "float32",
    "bfloat16": "bfloat16",
    "float32": "float32",
}


@dataclass(frozen=True)
class Source:
    """What a converter has read.

    Attributes:
        checkpoint: the model.
        add_source_eos: whether CTranslate2 adds the end token to sources of this toolkit.
        decoder_start_token: None where the first token of each target prefix starts the decoder.
        files: files to be copied, by the name that they get.
    """

    checkpoint: Checkpoint
    add_source_eos: bool
    decoder_start_token: str | None = ""
    files: Mapping[str, str] = field(default_factory=dict)


class Converter:
    """Reads a model of another toolkit and writes a directory that this package opens."""

    @staticmethod
    def declare_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Adds the arguments that all converters have to a command line."""
        parser.add_argument("--output_dir", required=True, help="output directory")
        parser.add_argument("--vocab_mapping", default=None, help="vocabulary mapping file")
        parser.add_argument(
            "--quantization", default=None, choices=ACCEPTED_MODEL_TYPES, help="type of the weights"
        )
        parser.add_argument(
            "--force", action="store_true", help="replace the output directory if it exists"
        )
        return parser

    def convert_from_args(self, args: argparse.Namespace) -> str:
        """Calls :meth:`convert` with the arguments of a command line."""
        return self.convert(
            args.output_dir,
            vmap=args.vocab_mapping,
            quantization=args.quantization,
            force=args.force,
        )

    def convert(
        self,
        output_dir: str,
        vmap: str | None = None,
        quantization: str | None = None,
        force: bool = False,
    ) -> str:
        """Writes the model into a directory, which appears when it is complete.

        Args:
            output_dir: the directory.
            vmap: a vocabulary map to put beside the model.
            quantization: type of the weights. "int16" and "float16" give float32, in which they
                would be computed.
            force: replace the directory if it exists.

        Returns:
            `output_dir`.

        Raises:
            RuntimeError: the directory exists, or the model cannot be read.
            ValueError: an unknown type, or a file that is not there.
            NotImplementedError: a model that cannot be converted.
        """
        if os.path.exists(output_dir) and not force:
            raise RuntimeError(
                f"output directory {output_dir} already exists, use --force to override"
            )
        if quantization not in _COMPUTE_TYPES:
            raise ValueError(
                f"{quantization} is not a valid quantization type. Accepted types are: "
                f"{', '.join(ACCEPTED_MODEL_TYPES)}"
            )
        if vmap is not None and not os.path.isfile(vmap):
            raise ValueError(f"File {vmap} does not exist")
        with as_ctranslate2():
            self._write(output_dir, vmap, _COMPUTE_TYPES[quantization])
        return output_dir

    def _write(self, output_dir: str, vmap: str | None, compute_type: str) -> None:
        parent = os.path.dirname(os.path.abspath(output_dir))
        os.makedirs(parent, exist_ok=True)
        with (
            self._load() as source,
            tempfile.TemporaryDirectory(prefix=".converting-", dir=parent) as temporary,
        ):
            made = os.path.join(temporary, "model")
            os.mkdir(made)
            files = {**source.files, **({"vmap.txt": vmap} if vmap is not None else {})}
            for name, path in files.items():
                shutil.copyfile(path, os.path.join(made, name))
            write_model(
                made,
                source.checkpoint,
                compute_type,
                add_source_eos=source.add_source_eos,
                decoder_start_token=source.decoder_start_token,
            )
            if os.path.exists(output_dir):
                shutil.rmtree(output_dir)
            os.rename(made, output_dir)

    def _load(self) -> contextlib.AbstractContextManager[Source]:
        """The model, whose weights can be read within the context."""
        raise NotImplementedError


def main_parser() -> argparse.ArgumentParser:
    """The parser of a converter's command line."""
    return argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
