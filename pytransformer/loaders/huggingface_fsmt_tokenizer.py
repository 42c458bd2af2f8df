"""The tokenizer of FSMT: two vocabularies, pairs to merge, and Moses' rules for two languages."""

from __future__ import annotations

from pathlib import Path

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings, read_json_object
from pytransformer.loaders.huggingface_frame import END, Directory, Frame
from pytransformer.loaders.huggingface_tokenizer import (
    AddedTokens,
    check_named,
    check_vocabulary,
    token_list,
)
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers.cutters import MergedPairs

_VOCABULARIES = ("vocab-src.json", "vocab-tgt.json")
_MERGES = "merges.txt"
_DEFAULTS = {"unk_token": "<unk>", "bos_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
# Ends of words are part of the last symbol.
_VERSION = b"#version: 0.2\n"


def read_fsmt(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer of a directory and its files.

    Raises CheckpointError if files are missing or broken or do not fit the embeddings.
    """
    options = directory.options
    names = [name for name in (*_VOCABULARIES, _MERGES) if not (directory.path / name).is_file()]
    if names:
        raise CheckpointError(
            f"{directory.path}: the tokenizer's files are missing: {', '.join(names)}"
        )
    source_path, target_path = (directory.path / name for name in _VOCABULARIES)
    source, target = read_json_object(source_path), read_json_object(target_path)
    added = AddedTokens(directory.path, options, _DEFAULTS, source)
    check_named(options, added.named, ("sep_token", "unk_token"))
    end, unknown = added.named["sep_token"], added.named["unk_token"]
    source.update((content, token["id"]) for content, token in added.tokens.items())
    check_vocabulary(source_path, source, directory.source_size, (unknown, end))
    check_vocabulary(target_path, target, directory.target_size, (unknown,))
    languages = _languages(directory)
    settings = {
        **Frame((), (END,)).settings(directory, end, {}),
        "source_languages": languages[:1],
        "target_languages": languages[1:],
        "moses_languages": languages,
        **added.settings(),
        "special_tokens": [content for content, token in added.tokens.items() if token["special"]],
        "lower_case": options.flag("do_lower_case", False),
        "clean_up_tokenization_spaces": options.flag("clean_up_tokenization_spaces", False),
    }
    files = {
        "source_vocabulary.json": token_list(source),
        "target_vocabulary.json": token_list(target),
        "merges.txt": _read_merges(directory.path / _MERGES),
    }
    return TokenizerSpec("moses", settings), files


def _read_merges(path: Path) -> bytes:
    """The pairs with a first line that says how they are meant."""
    content = path.read_bytes()
    if content.startswith(b"#version"):
        content = content.partition(b"\n")[2]
    try:
        MergedPairs(_VERSION + content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return _VERSION + content


def _languages(directory: Directory) -> list[str]:
    """The source's and the target's language."""
    settings: Settings = directory.options
    if settings.get("langs") is None:
        settings = directory.config
    value = settings.get("langs")
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(x, str) for x in value)):
        raise settings.error("langs", "a list of two languages")
    return value
