"""The tokenizer of BERT, from a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface_fast_tokens import FastTokens
from pytransformer.loaders.huggingface_frame import Directory, Frame
from pytransformer.loaders.huggingface_tokenizer import check_named, json_bytes
from pytransformer.loaders.huggingface_tokenizer_json import Vocabulary, read_tokenizer_json
from pytransformer.model_spec import TokenizerSpec

_DEFAULTS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_NEEDED = ("unk_token", "cls_token", "sep_token")


def read_bert(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer of BERT, from tokenizer.json or else from vocab.txt.

    As in transformers 5, nothing but the vocabulary is taken of tokenizer.json. Tokens without an
    embedding, which the tokenizer may add to the vocabulary, are left out. Raises CheckpointError
    if files are missing or broken or do not fit the embeddings.
    """
    options = directory.options
    vocabulary = _read_vocabulary(directory.path)
    vocabulary.check_size(directory.size)
    tokens = FastTokens(directory.path, options, _DEFAULTS, vocabulary)
    check_named(options, tokens.named, _NEEDED)
    added = [token for token in tokens.added([]) if token["id"] < directory.size]
    ids: dict[str, int] = {token: token_id for token_id, token in enumerate(vocabulary.pieces)}
    ids.update((token["content"], token["id"]) for token in added)
    listed: list[str | None] = [None] * (1 + max(ids.values()))
    for token, token_id in ids.items():
        listed[token_id] = token
    for key in _NEEDED:
        if tokens.named[key] not in ids:
            raise CheckpointError(f"{vocabulary.path}: lacks the token {tokens.named[key]!r}")
    lowercases = options.flag("do_lower_case", True)
    end = tokens.named["sep_token"]
    settings = {
        **Frame((tokens.named["cls_token"],), (end,)).settings(directory, end, {}),
        "unk_token": tokens.named["unk_token"],
        "added_tokens": added,
        "lowercases": lowercases,
        "strips_accents": options.flag("strip_accents", lowercases),
        "spaces_chinese": options.flag("tokenize_chinese_chars", True),
        "clean_up_tokenization_spaces": options.flag("clean_up_tokenization_spaces", False),
    }
    return TokenizerSpec("wordpiece", settings), {"vocabulary.json": json_bytes(listed)}


def _read_vocabulary(directory: Path) -> Vocabulary:
    path = directory / "tokenizer.json"
    vocabulary = read_tokenizer_json(path) if path.is_file() else _read_lines(directory)
    if vocabulary.scores is not None or vocabulary.merges is not None:
        kind = str(vocabulary.content["model"].get("type"))
        raise UnsupportedModelError(
            f"{path}: a model of type {kind[:40]!r} is not supported with BertTokenizer"
        )
    if not vocabulary.pieces:
        raise CheckpointError(f"{vocabulary.path}: the vocabulary is empty")
    return vocabulary


def _read_lines(directory: Path) -> Vocabulary:
    path = directory / "vocab.txt"
    if not path.is_file():
        raise CheckpointError(
            f"{directory}: the tokenizer's file is missing: vocab.txt or tokenizer.json"
        )
    try:
        lines = path.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: byte {error.start} is not UTF-8 text") from None
    # White space behind a token is no part of it.
    pieces = [line.rstrip() for line in (lines[:-1] if lines[-1] == "" else lines)]
    return Vocabulary(path, pieces)
