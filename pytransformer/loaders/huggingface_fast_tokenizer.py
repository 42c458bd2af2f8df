"""The tokenizers of NLLB, mBART, mBART-50 and Pegasus: words with the space in front of them.

As in transformers 5, tokenizer.json is read if there is one and the model of sentencepiece
otherwise, and of tokenizer.json only what the family's own tokenizer takes from it: the pieces, the
map that normalises characters and the tokens added to the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, read_json_object
from pytransformer.loaders.huggingface_fast_families import Family
from pytransformer.loaders.huggingface_fast_tokens import FastTokens
from pytransformer.loaders.huggingface_frame import Directory
from pytransformer.loaders.huggingface_tokenizer import check_named, json_bytes
from pytransformer.loaders.huggingface_tokenizer_json import Vocabulary, read_tokenizer_json
from pytransformer.loaders.sentencepiece_file import read_sentencepiece
from pytransformer.loaders.sentencepiece_pairs import scores_of_merges, write_pairs
from pytransformer.model_spec import TokenizerSpec

_SPECIAL = ("extra_special_tokens", "additional_special_tokens")


def read_fast(directory: Directory, family: Family) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer of a directory and its files.

    Tokens without an embedding, which the tokenizer may add to the vocabulary, are left out.
    Raises CheckpointError if files are missing or broken or do not fit the embeddings.
    """
    vocabulary, tokens = _read(directory, family)
    added = [token for token in tokens.added([]) if token["id"] < directory.size]
    vocabulary.check_size(directory.size)
    contents = _contents(vocabulary, added)
    ids = dict(zip(contents, range(len(contents)), strict=True))
    end, unknown = tokens.named["eos_token"], tokens.named["unk_token"]
    for token, count in ((end, len(contents)), (unknown, len(vocabulary.pieces))):
        if ids.get(token, count) >= count:
            raise CheckpointError(f"{vocabulary.path}: lacks the token {token!r}")
    special = {*family.special(directory.options), *(t["content"] for t in added if t["special"])}
    languages = family.frame.languages(sorted(special & ids.keys(), key=ids.__getitem__))
    rules = family.normalizers[0 if vocabulary.character_map else 1]
    clean_up = directory.options.flag("clean_up_tokenization_spaces", False)
    settings = {
        **family.frame.settings(directory, end, languages),
        "model": "pairs" if family.merges_pairs else "unigram",
        "unknown_id": ids[unknown],
        "added_tokens": added,
        "normalizers": list(rules),
        "splits_at_white_space": family.splits_at_white_space,
        "clean_up_tokenization_spaces": clean_up and not family.merges_pairs,
    }
    if family.merges_pairs:
        fixed = {ids[token] for token in special & ids.keys()} | {token["id"] for token in added}
        files = {"pieces.model": _pairs(vocabulary, contents, ids[unknown], fixed)}
    else:
        scores = np.array(vocabulary.scores, "<f8")
        if not np.isfinite(scores).all():
            raise CheckpointError(f"{vocabulary.path}: pieces without a finite score")
        files = {"tokens.json": json_bytes(contents), "scores.bin": scores.tobytes()}
    if "character_map" in rules:
        files["character_map.bin"] = vocabulary.character_map
    return TokenizerSpec("metaspace", settings), files


def _read(directory: Directory, family: Family) -> tuple[Vocabulary, FastTokens]:
    json_path, model_path = directory.path / "tokenizer.json", directory.path / family.file
    if json_path.is_file():
        vocabulary = _read_json(json_path, family)
        return vocabulary, _tokens(directory, family, vocabulary)
    if not model_path.is_file():
        raise CheckpointError(
            f"{directory.path}: the tokenizer's file is missing: {family.file} or tokenizer.json"
        )
    model = read_sentencepiece(model_path)
    vocabulary = Vocabulary(model_path, [], character_map=model.character_map)
    tokens = _tokens(directory, family, vocabulary)
    pieces = list(zip(model.pieces, model.scores, strict=True))
    layout = family.layout(pieces, tokens.named, directory.options)
    vocabulary.pieces = [piece for piece, _ in layout]
    vocabulary.scores = [score for _, score in layout]
    return vocabulary, tokens


def _read_json(path: Path, family: Family) -> Vocabulary:
    vocabulary = read_tokenizer_json(path)
    merges_pairs = vocabulary.scores is None and vocabulary.merges is not None
    if merges_pairs != family.merges_pairs:
        kind = str(vocabulary.content["model"].get("type"))
        raise UnsupportedModelError(
            f"{path}: a model of type {kind[:40]!r} is not supported with this tokenizer_class"
        )
    return vocabulary


def _tokens(directory: Directory, family: Family, vocabulary: Vocabulary) -> FastTokens:
    """The tokens that are added to the vocabulary, and the names of special ones."""
    defaults = dict(family.defaults)
    options = directory.options
    mask = defaults["mask_token"]
    if isinstance(mask, dict) and isinstance(options.get("mask_token"), str):
        # The family's tokenizer knows of the spaces beside the mask, whatever its name.
        named = {"mask_token": {**mask, "content": options.get("mask_token")}}
        options = Settings({**options.values, **named}, options.path)
    special_map = directory.path / "special_tokens_map.json"
    listed = read_json_object(special_map) if special_map.is_file() else {}
    given = {**options.values, **({} if options.get("added_tokens_decoder") else listed)}
    if all(given.get(key) is None for key in _SPECIAL):
        defaults["additional_special_tokens"] = family.special(options)
    tokens = FastTokens(directory.path, options, defaults, vocabulary)
    check_named(options, tokens.named, family.defaults)
    return tokens


def _contents(vocabulary: Vocabulary, added: Iterable[Mapping[str, Any]]) -> list[str]:
    """All tokens in the order of their ids."""
    count = len(vocabulary.pieces)
    more = sorted((token["id"], token["content"]) for token in added if token["id"] >= count)
    return [*vocabulary.pieces, *(content for _, content in more)]


def _pairs(
    vocabulary: Vocabulary, contents: Sequence[str], unknown: int, fixed: Collection[int]
) -> bytes:
    pieces = vocabulary.pieces
    if vocabulary.merges is None:
        scores = [-float(token_id) for token_id in range(len(pieces))]
    else:
        found = scores_of_merges(pieces, vocabulary.merges, fixed)
        if found is None:
            raise UnsupportedModelError(
                f"{vocabulary.path}: its merges are not those of a sentencepiece model, which is "
                "not supported"
            )
        scores = found
    more = len(contents) - len(pieces)
    try:
        return write_pairs(contents, scores + [0.0] * more, unknown, fixed)
    except UnicodeEncodeError:
        raise CheckpointError(f"{vocabulary.path}: a token is not valid Unicode") from None
