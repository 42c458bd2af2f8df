"""Tokenizers that are kept as Hugging Face's tokenizer.json: BART's, GPT-2's, those of no family.

The tokenizers of BART and GPT-2 take little of tokenizer.json but the pieces, the pairs to merge
and the tokens added to the vocabulary; a directory that names no family's tokenizer has it as it
stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import read_json_object
from pytransformer.loaders.huggingface_fast_tokens import FastTokens
from pytransformer.loaders.huggingface_frame import Directory, Frame
from pytransformer.loaders.huggingface_tokenizer import check_named, json_bytes
from pytransformer.loaders.huggingface_tokenizer_json import (
    Vocabulary,
    ordered,
    pairs,
    read_tokenizer_json,
)
from pytransformer.model_spec import TokenizerSpec

# Of a tokenizer.json; it may ask for texts to be cut off or filled up as well.
_PARTS = ("version", "added_tokens", "normalizer", "pre_tokenizer", "decoder", "model")
_BART = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_GPT2 = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")


def read_bart(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer of BART, from tokenizer.json or else from vocab.json and merges.txt.

    Tokens without an embedding, which the tokenizer may add to the vocabulary, are left out.
    Raises CheckpointError if files are missing or broken or do not fit the embeddings.
    """
    names, content, _ = _read_byte_pairs(directory, _BART, ("cls_token", "sep_token"))
    frame = Frame((names["cls_token"],), (names["sep_token"],))
    return _library(directory, frame, names["sep_token"], names.get("unk_token"), content)


def read_gpt2(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer of GPT-2, likewise."""
    names, content, vocabulary = _read_byte_pairs(directory, _GPT2, ("bos_token", "eos_token"))
    options = directory.options
    if "add_bos_token" in options.values or "add_eos_token" in options.values:
        before = [names["bos_token"]] if options.flag("add_bos_token", False) else []
        behind = [names["eos_token"]] if options.flag("add_eos_token", False) else []
    else:
        before, behind = _framed(vocabulary.path, vocabulary.content.get("post_processor"))
    end = names["eos_token"]
    return _library(directory, Frame(before, behind), end, names.get("unk_token"), content)


def _read_byte_pairs(
    directory: Directory, defaults: dict[str, str], needed: Sequence[str]
) -> tuple[dict[str, str], dict[str, Any], Vocabulary]:
    """The tokens that have a name, what tokenizer.json is made of, and what was read."""
    vocabulary = _read_vocabulary(directory.path)
    tokens = FastTokens(directory.path, directory.options, defaults, vocabulary)
    check_named(directory.options, tokens.named, needed)
    added = [token for token in tokens.added([]) if token["id"] < directory.size]
    vocabulary.check_size(directory.size)
    if vocabulary.merges is None:
        raise CheckpointError(f"{vocabulary.path}: the model has no merges")
    content = {
        "version": "1.0",
        "added_tokens": [{"single_word": False, **token} for token in added],
        "pre_tokenizer": _bytes(directory.options.flag("add_prefix_space", False)),
        "decoder": _bytes(True),
        "model": _byte_pairs(vocabulary.pieces, vocabulary.merges),
    }
    known = {*vocabulary.pieces, *(token["content"] for token in added)}
    names = {key: token for key, token in tokens.named.items() if token in known}
    for key in needed:
        if key not in names:
            raise CheckpointError(f"{vocabulary.path}: lacks the token {tokens.named[key]!r}")
    return names, content, vocabulary


def read_library(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """Any tokenizer.json, as it stands; raises CheckpointError as above."""
    path = directory.path / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{directory.path}: the tokenizer's file is missing: tokenizer.json")
    file = read_tokenizer_json(path)
    tokens = FastTokens(directory.path, directory.options, {}, file)
    added = [token for token in tokens.added(None) if token["id"] < directory.size]
    file.check_size(directory.size)
    before, behind = _framed(path, file.content.get("post_processor"))
    end = tokens.named.get("eos_token", behind[-1] if behind else None)
    if end is None:
        raise CheckpointError(f"{directory.options.path}: eos_token is missing")
    content = {**file.content, "added_tokens": [{"single_word": False, **t} for t in added]}
    content = {key: content.get(key) for key in _PARTS}
    return _library(directory, Frame(before, behind), end, tokens.named.get("unk_token"), content)


def _library(
    directory: Directory, frame: Frame, end: str, unknown: str | None, content: dict[str, Any]
) -> tuple[TokenizerSpec, dict[str, bytes]]:
    # Spaces before punctuation belong to the text where pairs are merged.
    cleans = directory.options.flag("clean_up_tokenization_spaces", False)
    settings = {
        **frame.settings(directory, end, {}),
        "unk_token": unknown,
        "clean_up_tokenization_spaces": cleans and content["model"].get("type") != "BPE",
    }
    return TokenizerSpec("library", settings), {"tokenizer.json": json_bytes(content)}


def _read_vocabulary(directory: Path) -> Vocabulary:
    path = directory / "tokenizer.json"
    if path.is_file():
        return read_tokenizer_json(path)
    paths = [directory / name for name in ("vocab.json", "merges.txt")]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise CheckpointError(
            f"{directory}: the tokenizer's files are missing: {', '.join(missing)} or "
            "tokenizer.json"
        )
    vocab_path, merges_path = paths
    try:
        lines = merges_path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{merges_path}: byte {error.start} is not UTF-8 text") from None
    merges = [line for line in lines if line and not line.startswith("#version")]
    pieces = ordered(vocab_path, read_json_object(vocab_path))
    return Vocabulary(vocab_path, pieces, merges=pairs(merges_path, merges))


def _bytes(prefix_space: bool) -> dict[str, Any]:
    """The step that stands for bytes as characters, and cuts words."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix_space,
        "trim_offsets": True,
        "use_regex": True,
    }


def _byte_pairs(pieces: Sequence[str], merges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "vocab": {piece: token_id for token_id, piece in enumerate(pieces)},
        "merges": [" ".join(pair) for pair in merges],  # bytes hold no space
    }


def _framed(path: Path, processor: Any) -> tuple[list[str], list[str]]:
    """The tokens that a post_processor puts before and behind a text."""
    kind = processor.get("type") if isinstance(processor, dict) else None
    if kind not in (None, "ByteLevel", "Sequence", *_FRAMES):
        raise UnsupportedModelError(
            f"{path}: the post_processor {str(kind)[:40]!r} is not supported"
        )
    broken = CheckpointError(f"{path}: the post_processor {str(kind)[:40]!r} is broken")
    try:
        if kind == "Sequence":
            found = [_framed(path, part) for part in processor["processors"]]
            before = [token for first, _ in reversed(found) for token in first]
            return before, [token for _, last in found for token in last]
        before, behind = _FRAMES[kind](processor) if kind in _FRAMES else ([], [])
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, StopIteration):
        raise broken from None
    if not all(isinstance(token, str) for token in (*before, *behind)):
        raise broken
    return before, behind


def _of_classes(processor: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    return [processor["cls"][0]], [processor["sep"][0]]


def _of_template(processor: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    items = [next(iter(item.items())) for item in processor["single"]]
    place = [kind for kind, _ in items].index("Sequence")
    tokens = [token["id"] for _, token in items]
    return tokens[:place], tokens[place + 1 :]


_FRAMES = {
    "BertProcessing": _of_classes,
    "RobertaProcessing": _of_classes,
    "TemplateProcessing": _of_template,
}
