"""Vocabularies of Marian's models as our tokenizer takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.marian_files import Vocabulary
from pytransformer.loaders.marian_yaml import MAX_VOCABULARY_BYTES, read_vocabulary

_MAPS = (".yml", ".yaml", ".json")
# The ids of the end token and the unknown token, their names, and Nematus's names for them.
_SPECIAL = {"end": (0, "</s>", "eos"), "unknown": (1, "<unk>", "UNK")}


def read_vocabularies(
    source: Vocabulary, target: Vocabulary, sizes: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Settings and files of :class:`pytransformer.tokenizers.marian_vocabulary`.

    `sizes` are those of the embeddings; tokens with larger ids are left out, as in Marian. Raises
    CheckpointError that names a file which is broken or does not fit.
    """
    files: dict[str, bytes] = {}
    sides: dict[str, Any] = {"source": _side("source", source, sizes[0], files)}
    if source == target and sizes[0] == sizes[1]:
        sides["target"] = sides["source"]
    else:
        sides["target"] = _side("target", target, sizes[1], files)
    return sides, files


def _side(name: str, vocabulary: Vocabulary, size: int, files: dict[str, bytes]) -> dict[str, Any]:
    """The settings of one side, whose files are added to `files`."""
    settings: dict[str, Any] = {"pieces": None, "tokens": None}
    if vocabulary.pieces is not None:
        settings["pieces"] = _add(files, f"{name}.spm", _read_pieces(vocabulary.pieces))
    if vocabulary.tokens is not None:
        tokens = _tokens(vocabulary.tokens, size)
        settings.update(_special(vocabulary.tokens, tokens))
        content = json.dumps(tokens, ensure_ascii=False).encode()
        settings["tokens"] = _add(files, f"{name}_vocabulary.json", content)
    return settings


def _add(files: dict[str, bytes], name: str, content: bytes) -> str:
    """Adds a file unless it is there already, and gives its name."""
    known = next((other for other, present in files.items() if present == content), name)
    files[known] = content
    return known


def _read_pieces(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(MAX_VOCABULARY_BYTES + 1)
    if len(content) > MAX_VOCABULARY_BYTES:
        raise CheckpointError(f"{path}: more than {MAX_VOCABULARY_BYTES} bytes are no vocabulary")
    return content


def _tokens(path: Path, size: int) -> list[str | None]:
    """Tokens in the order of their ids, None for an id without one."""
    ids = read_vocabulary(path) if path.suffix in _MAPS else _read_lines(path)
    tokens: list[str | None] = [None] * min(size, max(ids.values(), default=0) + 1)
    for token, token_id in ids.items():
        if token_id >= size:
            continue
        if tokens[token_id] is not None:
            raise CheckpointError(f"{path}: {tokens[token_id]!r} and {token!r} have the same id")
        tokens[token_id] = token
    return tokens


def _read_lines(path: Path) -> dict[str, int]:
    """A list of tokens, one a line, in the order of their ids."""
    content = _read_pieces(path)
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: byte {error.start} is not UTF-8 text") from None
    ids = {line.removesuffix("\r"): number for number, line in enumerate(lines)}
    if "" in ids or len(ids) != len(lines):
        raise CheckpointError(f"{path}: an empty line, or a token twice, in a list of tokens")
    return ids


def _special(path: Path, tokens: list[str | None]) -> dict[str, int]:
    """The ids of end token and unknown token, as Marian finds them."""
    ids: dict[str, int] = {}
    for role, (usual, name, old_name) in _SPECIAL.items():
        if path.suffix in _MAPS and usual < len(tokens) and tokens[usual] in (None, old_name):
            tokens[usual] = tokens[usual] or name
            ids[role] = usual
        elif name in tokens:
            ids[role] = tokens.index(name)
        else:
            raise CheckpointError(f"{path}: lacks the token {name}")
    return ids
