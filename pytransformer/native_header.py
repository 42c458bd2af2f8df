"""Reads the header of a native model file (docs/native-format.md).

Apart from what writes the file, because a file that is only opened needs no NumPy, whose import
takes longer than all the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from pytransformer.config_reader import read_fields, read_object
from pytransformer.errors import CheckpointError
from pytransformer.model_spec import GenerationSpec, ModelSpec, TokenizerSpec
from pytransformer.tokenizer_settings import check_settings

FORMAT = "pytransformer"
FORMAT_VERSION = "1"

# No real header comes near it; a file that claims more is something else.
_MAX_HEADER_BYTES = 100_000_000


def is_native(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a native model file, judged by its header and not by its name."""
    try:
        read_header(path)
    except (OSError, CheckpointError):
        return False
    return True


def read_header(path: str | os.PathLike[str]) -> tuple[dict[str, Any], int]:
    """The parsed header of a native file, and where the tensors' bytes start.

    Nothing in it has been checked but that it calls itself a native file; CheckpointError if not.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size <= min(_MAX_HEADER_BYTES, os.fstat(file.fileno()).st_size):
            with contextlib.suppress(ValueError, RecursionError):
                header = json.loads(file.read(size))
                if isinstance(header, dict) and _is_ours(header.get("__metadata__")):
                    return header, 8 + size
    raise CheckpointError(f"{os.fspath(path)}: not a native model file")


def read_config(text: str) -> tuple[str, ModelSpec, GenerationSpec, TokenizerSpec]:
    """Family and specs from the JSON text in a native file's metadata.

    The strict inverse of :meth:`Checkpoint.config_json`: raises CheckpointError if a key is unknown
    or missing, or a value has the wrong type.
    """
    config = read_object(text)
    fields = {
        "family": str,
        "model": ModelSpec,
        "generation": GenerationSpec,
        "tokenizer": TokenizerSpec,
    }
    values = read_fields(fields, config, "config")
    check_settings(values["tokenizer"].settings, "config.tokenizer.settings")
    return values["family"], values["model"], values["generation"], values["tokenizer"]


def _is_ours(metadata: Any) -> bool:
    return isinstance(metadata, dict) and metadata.get("format") == FORMAT
