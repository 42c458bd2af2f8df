"""The tokenizer's files and settings of a MarianMT directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, read_json_object
from pytransformer.loaders.huggingface_tokenizer import AddedTokens, check_vocabulary, token_list

_DEFAULTS = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}
_LANGUAGES = ("source_lang", "target_lang", "default_target_language")


def read_tokenizer(
    path: Path, source_size: int, target_size: int
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files by name and settings, for models with so many embeddings on each side.

    tokenizer_config.json may hold one key that Hugging Face does not know:
    `default_target_language`, used for multilingual models when a call names no language. Raises
    CheckpointError if a file is missing or broken, or a vocabulary does not fit the embeddings.
    """
    config_path = path / "tokenizer_config.json"
    config = Settings.read(config_path) if config_path.is_file() else Settings({}, config_path)
    separate = config.flag("separate_vocabs", False)
    if config.get("sp_model_kwargs"):
        raise UnsupportedModelError(f"{config_path}: sp_model_kwargs (sampling) is not supported")
    files = _read_sentencepiece(path, separate)
    source_path, target_path = path / "vocab.json", path / "target_vocab.json"
    vocab = read_json_object(source_path)
    added = AddedTokens(path, config, _DEFAULTS, vocab)
    languages = [] if separate else _languages(vocab)
    vocab.update((content, token["id"]) for content, token in added.tokens.items())
    rows = source_size if separate else min(source_size, target_size)
    check_vocabulary(source_path, vocab, rows)
    files["source_vocabulary.json"] = token_list(vocab)
    if separate:
        target = read_json_object(target_path)
        check_vocabulary(target_path, target, target_size)
        files["target_vocabulary.json"] = token_list(target)
    settings = {
        **added.settings(),
        **{key: config.text(key, "") for key in _LANGUAGES if config.get(key) is not None},
        "clean_up_tokenization_spaces": config.flag("clean_up_tokenization_spaces", False),
        "prefix_languages": languages,
        "separate_vocabs": separate,
    }
    return files, settings


def _read_sentencepiece(path: Path, separate: bool) -> dict[str, bytes]:
    names = ["source.spm", "target.spm"]
    vocabularies = ["vocab.json", *(["target_vocab.json"] if separate else [])]
    missing = [name for name in [*names, *vocabularies] if not (path / name).is_file()]
    if missing:
        raise CheckpointError(f"{path}: the tokenizer's files are missing: {', '.join(missing)}")
    return {name: (path / name).read_bytes() for name in names}


def _languages(vocab: Mapping[str, Any]) -> list[str]:
    return sorted(token[2:-2] for token in vocab if token.startswith(">>") and token.endswith("<<"))
