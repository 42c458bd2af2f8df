"""The types of what a native file says of its tokenizer.

Each kind of tokenizer has settings of its own, but what has one name is of one type in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytransformer.config_reader import read_fields
from pytransformer.model_spec import LATER


@dataclass(frozen=True)
class _Token:
    content: str
    id: int
    special: bool
    lstrip: bool
    rstrip: bool
    normalized: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True)
class _Side:
    pieces: str | None
    tokens: str | None
    end: int = field(default=0, metadata=LATER)
    unknown: int = field(default=0, metadata=LATER)


_FLAGS = (
    "add_source_bos", "add_source_eos", "clean_up_tokenization_spaces", "lower_case", "lowercases",
    "needs_target", "resizes", "separate_vocabs", "shows_unknown", "spaces_chinese",
    "splits_at_white_space", "splits_words", "strips_accents", "texts_begin", "texts_end",
)  # fmt: skip
_NUMBERS = (
    "channels", "height", "num_embeddings", "patch_height", "patch_width", "source_size",
    "target_size", "unknown_id", "width",
)  # fmt: skip
_TEXTS = ("bos_token", "end_token", "eos_token", "model")
_TEXTS_OR_NONE = (
    "decoder_start_token", "default_target_language", "source_lang", "source_language",
    "target_by", "target_lang", "target_language", "unk_token",
)  # fmt: skip
_LISTS = (
    "frame", "moses_languages", "normalizers", "prefix_languages", "source_languages",
    "special_tokens", "target_languages",
)  # fmt: skip
_TYPES: dict[str, Any] = {
    **dict.fromkeys(_FLAGS, bool),
    **dict.fromkeys(_NUMBERS, int),
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(_TEXTS_OR_NONE, str | None),
    **dict.fromkeys(_LISTS, tuple[str, ...]),
    "added_tokens": tuple[_Token, ...],
    "deviation": tuple[float, ...],
    "language_prefixes": tuple[tuple[str | None, ...], ...],
    "language_tokens": Mapping[str, str],
    "mean": tuple[float, ...],
    "rescale_factor": float,
    "source": _Side,
    "target": _Side,
}


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Raises CheckpointError if one of the settings has a wrong type; `where` names them."""
    known = {key: value for key, value in settings.items() if key in _TYPES}
    read_fields({key: _TYPES[key] for key in known}, known, where)
