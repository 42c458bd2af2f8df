"""The settings of a ByT5 directory's tokenizer, which has no file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface_fast_tokens import FastTokens
from pytransformer.loaders.huggingface_frame import Directory
from pytransformer.loaders.huggingface_tokenizer import check_named
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers.byt5 import byte_ids

_NAMED = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}  # by their ids
_EXTRA_IDS = 125


@dataclass
class _Bytes:
    pieces: list[str] = field(default_factory=lambda: [*_NAMED.values(), *byte_ids()])
    added_tokens: list[dict[str, Any]] | None = None
    symbols: list[tuple[str, bool]] | None = None


def read_byt5(
    directory: Directory, prefixes: Sequence[tuple[str | None, str, str]]
) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer, with the languages' prefixes; raises CheckpointError."""
    own, size, options = _Bytes(), directory.size, directory.options
    if len(own.pieces) > size:
        raise CheckpointError(
            f"{directory.path}: ByT5 has {len(own.pieces)} tokens, but there are {size} embeddings"
        )
    extra_ids = options.integer("extra_ids", _EXTRA_IDS, maximum=2**16)
    tokens = FastTokens(directory.path, options, _NAMED, own, strips=True)
    check_named(options, tokens.named, ("eos_token",))
    added = tokens.added([f"<extra_id_{i}>" for i in range(extra_ids)])
    settings = {
        "added_tokens": [token for token in added if token["id"] < size],
        "eos_token": tokens.named["eos_token"],
        "clean_up_tokenization_spaces": options.flag("clean_up_tokenization_spaces", False),
        "num_embeddings": size,
        "language_prefixes": list(prefixes),
    }
    return TokenizerSpec("byt5", settings), {}
