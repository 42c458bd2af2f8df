"""The vocabularies in OpenNMT-py's checkpoints, in the forms of its versions.

Version 3 stores a dictionary of lists. Versions 1 and 2 stored torchtext's objects: a field for
each side, which holds a list of fields, the first of them with the vocabulary of the tokens.
Before, there was a list of pairs, name and vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.pickle_machine import (
    Constructor,
    Record,
    as_given,
    filled_later,
    passive,
    records,
)
from pytransformer.loaders.pytorch_records import attributes
from pytransformer.loaders.token_lists import TokenLists, checked_tokens

# What fields consist of besides what any checkpoint may hold.
VOCABULARY_NAMES: dict[str, Constructor | None] = {
    **records(
        "functools.partial",
        "onmt.inputters.inputter.AlignField",
        "onmt.inputters.text_dataset.TextMultiField",
        "torchtext.data.field.Field",
        "torchtext.data.field.RawField",
        "torchtext.vocab.Vocab",
    ),
    **passive(
        "onmt.inputters.inputter.make_src",
        "onmt.inputters.inputter.make_tgt",
        "onmt.inputters.text_dataset._feature_tokenize",
        "torchtext.data.utils._split_tokenizer",
        "torchtext.vocab._default_unk_index",
    ),
    "collections.Counter": as_given,
    "collections.defaultdict": filled_later,
}

_UNKNOWN, _BEGIN, _END = "<unk>", "<s>", "</s>"


def read_vocabularies(path: Path, stored: Any) -> tuple[TokenLists, bool]:
    """The tokens of both sides, and whether they are stored as in version 2 or before."""
    if isinstance(stored, dict) and _is_text_list(stored.get("src")):
        if stored.get("src_feats"):
            raise UnsupportedModelError(f"{path}: word features (src_feats) are not supported")
        start = stored.get("decoder_start_token", _BEGIN)
        if not isinstance(start, str):
            raise CheckpointError(f"{path}: decoder_start_token should be a token")
        return _lists(path, stored["src"], stored.get("tgt"), start), False
    sides = _by_name(path, stored)
    source, target = (_torchtext_tokens(path, side, sides.get(side)) for side in ("src", "tgt"))
    return _lists(path, source, target, _BEGIN), True


def _lists(path: Path, source: Any, target: Any, start: str) -> TokenLists:
    return TokenLists(
        source=checked_tokens(path, "the source vocabulary", source),
        target=checked_tokens(path, "the target vocabulary", target),
        unknown=_UNKNOWN,
        begin=_BEGIN,
        end=_END,
        start=start,
        ends_source=False,
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _by_name(path: Path, stored: Any) -> dict[Any, Any]:
    """Fields or vocabularies by name, of a dictionary or of a list of pairs."""
    if isinstance(stored, list) and all(_is_named(pair) for pair in stored):
        stored = dict(stored)
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path}: the vocabularies are in no known form")
    if any(str(name).startswith(("src_feat_", "tgt_feat_")) for name in stored):
        raise UnsupportedModelError(f"{path}: word features are not supported")
    return stored


def _is_named(pair: Any) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)


def _torchtext_tokens(path: Path, side: str, value: Any) -> Any:
    """The list of tokens of a side, from what holds it: several fields, one, or a vocabulary."""
    fields = value if isinstance(value, list) else attributes(value).get("fields")
    if isinstance(fields, list):
        if len(fields) != 1 or not _is_named(fields[0]):
            raise UnsupportedModelError(f"{path}: word features ({side}) are not supported")
        value = fields[0][1]
    if isinstance(value, Record) and "vocab" in value.attributes:
        value = value.attributes["vocab"]
    tokens = attributes(value).get("itos")
    if tokens is None:
        raise CheckpointError(f"{path}: no vocabulary of the {side} side")
    return tokens
