"""Tokenizers of checkpoints that hold lists of tokens; what cuts text lies beside them.

Such models read tokens that stand between spaces. If there is a file with BPE codes or a
sentencepiece model beside the checkpoint, texts are cut by it; its name is one of those below, or
one that the checkpoint gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import parse_json
from pytransformer.model_spec import TokenizerSpec

# The names of files beside a checkpoint, by the end of the name that they get in it.
_BESIDE = {
    ".spm": ("sentencepiece.model", "sentencepiece.bpe.model", "spm.model"),
    ".bpe": ("bpe.codes", "bpecodes", "codes", "code"),
}
_SIDES = ("source", "target")


@dataclass(frozen=True)
class TokenLists:
    """The tokens of both sides in the order of their ids, and which of them are special.

    Attributes:
        source, target: the tokens.
        unknown, begin, end: the special ones.
        ends_source: whether the end token closes every source.
        begins_texts: whether the begin token opens a source that is cut from text.
        start: what the decoder starts with.
    """

    source: Sequence[str]
    target: Sequence[str]
    unknown: str
    begin: str
    end: str
    start: str
    ends_source: bool
    begins_texts: bool = False

    def target_id(self, path: Path, token: str) -> int:
        """The id of a target token; raises CheckpointError that names `path` if there is none."""
        try:
            return self.target.index(token)
        except ValueError:
            raise CheckpointError(f"{path}: the target vocabulary has no {token!r}") from None

    def tokenizer(self, path: Path, cutters: Mapping[str, bytes]) -> _Tokenizer:
        """The tokenizer's description and its files, for a checkpoint at `path`."""
        for side, tokens in (("source", self.source), ("target", self.target)):
            if self.unknown not in tokens:
                raise CheckpointError(f"{path}: the {side} vocabulary has no {self.unknown!r}")
        settings: dict[str, Any] = {
            "unk_token": self.unknown,
            "bos_token": self.begin,
            "eos_token": self.end,
            "decoder_start_token": self.start,
            "add_source_bos": False,
            "add_source_eos": self.ends_source,
            "texts_begin": self.begins_texts,
            "texts_end": self.ends_source,
            "shows_unknown": "target.spm" not in cutters,
            "splits_words": True,
        }
        lists = {"source_vocabulary.json": self.source, "target_vocabulary.json": self.target}
        files = {name: json.dumps(tokens).encode() for name, tokens in lists.items()}
        return TokenizerSpec("vocabulary_list", settings), {**files, **cutters}


_Tokenizer = tuple[TokenizerSpec, dict[str, bytes]]


def checked_tokens(path: Path, what: str, tokens: Any) -> list[str]:
    """Tokens as a list of str that can be encoded; raises CheckpointError that names `path`."""
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(f"{path}: {what} is not a list of tokens")
    try:
        "".join(tokens).encode()
    except UnicodeEncodeError:
        raise CheckpointError(f"{path}: {what} has a token that is not valid Unicode") from None
    return tokens


def read_token_list(path: Path) -> list[str]:
    """Tokens from a JSON list, or from a text with one in each line."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return checked_tokens(path, "the file", parse_json(content, path))
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: byte {error.start} is not UTF-8 text") from None
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def read_cutters(directory: Path, named: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """What cuts text, from the files beside a checkpoint: `source.spm` or `source.bpe`, and so on.

    `named` gives, by the names that files get, those that the checkpoint asks for; they need not be
    there.
    """
    found: dict[str, bytes] = {}
    for side in _SIDES:
        for suffix, names in _BESIDE.items():
            wanted = (named or {}).get(f"{side}{suffix}")
            candidates = [*([wanted] if wanted else []), f"{side}{suffix}", *names]
            paths = (directory / name for name in candidates)
            path = next((path for path in paths if path.is_file()), None)
            if path is not None:
                found[f"{side}{suffix}"] = path.read_bytes()
                break
    return found
