"""The tokenizer's files and settings of a T5 directory.

As in transformers, tokenizer.json is read if there is one and spiece.model otherwise, and of
tokenizer.json only what T5's own tokenizer takes from it: the pieces, the map that normalises
characters and the tokens added to the vocabulary. umT5, and directories that name another tokenizer
than T5's, have the rest of tokenizer.json too. Unlike transformers 5, as older versions did,

- the file is believed which piece is the unknown one, instead of the third being taken for it;
- a tokenizer.json that does more than T5's own tokenizer, such as to cut out digits, does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_bart_tokenizer import read_library
from pytransformer.loaders.huggingface_byt5_tokenizer import read_byt5
from pytransformer.loaders.huggingface_fast_tokens import FastTokens
from pytransformer.loaders.huggingface_frame import Directory
from pytransformer.loaders.huggingface_tokenizer import check_named, json_bytes
from pytransformer.loaders.huggingface_unigram import (
    UnigramFile,
    from_sentencepiece,
    from_tokenizer_json,
)
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers.character_map import CharacterMap

_T5_CLASSES = ("T5Tokenizer", "MT5Tokenizer")
_EXTRA_IDS = 100
_DEFAULTS = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
# MADLAD-400's, for example <2de> and <2zh_Hant>.
_LANGUAGE = re.compile(r"<2([a-z]{2,3}(?:_[A-Za-z]+)*)>")
_TASK = re.compile(r"translation_([a-z]{2,3})_to_([a-z]{2,3})")


def read_tokenizer(
    path: Path, config: Settings, num_embeddings: int
) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer and its files, for a model with so many embeddings.

    Tokens without an embedding, which the tokenizer may add to the vocabulary, are left out.
    Raises CheckpointError if a file is missing or broken or the pieces do not fit the embeddings.
    """
    options_path = path / "tokenizer_config.json"
    options = Settings.read(options_path) if options_path.is_file() else Settings({}, options_path)
    if options.get("split_special_tokens"):
        raise UnsupportedModelError(f"{options_path}: split_special_tokens is not supported")
    directory = Directory(path, config, options, num_embeddings, num_embeddings)
    name = options.text("tokenizer_class", config.text("tokenizer_class", _T5_CLASSES[0]))
    name = name.removesuffix("Fast")
    if name == "ByT5Tokenizer":
        return read_byt5(directory, list(_task_prefixes(config)))
    sentinels = _sentinels(options.integer("extra_ids", _EXTRA_IDS, maximum=2**16))
    json_path, model_path = path / "tokenizer.json", path / "spiece.model"
    if not json_path.is_file():
        if name not in _T5_CLASSES or not model_path.is_file():
            wanted = "spiece.model or tokenizer.json" if name in _T5_CLASSES else json_path.name
            raise CheckpointError(f"{path}: the file of its {name} is missing: {wanted}")
        return _of_pieces(directory, from_sentencepiece(model_path, sentinels), sentinels)
    as_it_stands = name not in _T5_CLASSES or config.get("model_type") == "umt5"
    try:
        file = from_tokenizer_json(json_path, as_it_stands)
    except UnsupportedModelError:
        return read_library(directory)
    return _of_pieces(directory, file, None if as_it_stands else sentinels)


def _of_pieces(
    directory: Directory, file: UnigramFile, sentinels: list[str] | None
) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer over the pieces of a file; `sentinels` as in :meth:`FastTokens.added`."""
    size, options = directory.size, directory.options
    if len(file.pieces) > size:
        raise CheckpointError(
            f"{file.path}: has {len(file.pieces)} pieces, but there are {size} embeddings"
        )
    tokens = FastTokens(directory.path, options, _DEFAULTS, file)
    check_named(options, tokens.named, ("eos_token",))
    added = [
        _as_shown(token, file.character_map)
        for token in tokens.added(sentinels)
        if token["id"] < size
    ]
    more = {token["id"]: token["content"] for token in added if token["id"] >= len(file.pieces)}
    contents = [*file.pieces, *(more[token_id] for token_id in sorted(more))]
    end = tokens.named["eos_token"]
    if end not in contents:
        raise CheckpointError(f"{file.path}: lacks the end token {end!r}")
    settings = {
        "model": "unigram",
        "added_tokens": added,
        "eos_token": end,
        "unknown_id": file.unknown_id,
        "normalizers": file.normalizers,
        "splits_at_white_space": file.splits_at_white_space,
        "clean_up_tokenization_spaces": options.flag("clean_up_tokenization_spaces", False),
        "num_embeddings": size,
        "language_prefixes": list(_language_prefixes(contents) or _task_prefixes(directory.config)),
    }
    files = {
        "tokens.json": json_bytes(contents),
        "scores.bin": np.array(file.scores, "<f8").tobytes(),
    }
    if file.character_map:
        files["character_map.bin"] = file.character_map
    return TokenizerSpec("t5", settings), files


def _as_shown(token: dict[str, Any], character_map: bytes) -> dict[str, Any]:
    """The token as it stands in texts: one that is looked for in normalised text is normalised."""
    if not token["normalized"] or not character_map:
        return token
    return {**token, "content": CharacterMap(character_map)(token["content"]) or token["content"]}


def _sentinels(count: int) -> list[str]:
    """T5's placeholders for parts of a text, in the order of their ids."""
    return [f"<extra_id_{i}>" for i in reversed(range(count))]


def _language_prefixes(tokens: Iterable[str]) -> list[tuple[str | None, str, str]]:
    """Languages that have a token, which stands in front of a text in any language."""
    found = ((token, _LANGUAGE.fullmatch(token)) for token in tokens)
    return [(None, match[1], f"{token} ") for token, match in found if match]


def _task_prefixes(config: Settings) -> Iterator[tuple[str | None, str, str]]:
    """Languages for which config.json tells what the text must begin with."""
    tasks = config.get("task_specific_params")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        found = _TASK.fullmatch(name)
        if found and isinstance(task, dict) and task.get("prefix") is not None:
            yield found[1], found[2], Settings(task, config.path).text("prefix", "")
