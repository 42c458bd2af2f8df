"""The lists of tokens in CTranslate2's directories, and what is put around sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.ctranslate2_attributes import Attributes
from pytransformer.loaders.ctranslate2_file import Ctranslate2File
from pytransformer.loaders.huggingface import Settings, parse_json
from pytransformer.loaders.token_lists import checked_tokens, read_cutters

_FIRST_VERSION_WITH_CONFIG = 6
# Where a converter that adds no end token stands, sources hold it unless decoders start so.
_PLAIN_START = "<s>"
_SIDES = ("source", "target")
_T5_PIECES = "spiece.model"
# Argos Translate keeps the model in a folder of its own.
_BESIDE = "sentencepiece.model"


@dataclass(frozen=True)
class Conventions:
    """Special tokens, which of them are added to sentences, and whose attention is alignment.

    Attributes:
        decoder_start_token: None where the first token of each target prefix is the start token.
        alignment_layer: whose cross-attention is returned, from the end if negative.
        alignment_heads: of how many heads, the first ones, that is the mean; 0 means all.
    """

    unk_token: str = "<unk>"
    bos_token: str = "<s>"
    eos_token: str = "</s>"
    decoder_start_token: str | None = "<s>"
    add_source_bos: bool = False
    add_source_eos: bool = False
    alignment_layer: int = -1
    alignment_heads: int = 1

    @classmethod
    def read(cls, config: Settings, attributes: Attributes, file: Ctranslate2File) -> Conventions:
        """From config.json; before version 6 from attributes."""
        alignment = {
            "alignment_layer": attributes.integer("decoder/alignment_layer", -1, -(2**15), 2**15),
            "alignment_heads": attributes.integer("decoder/alignment_heads", 1, 0, 2**15),
        }
        if file.version >= _FIRST_VERSION_WITH_CONFIG:
            return cls.from_config(config, alignment)
        bos = file.texts.get("bos_token", cls.bos_token)
        eos = file.texts.get("eos_token", cls.eos_token)
        start: str | None = bos if attributes.flag("with_target_bos", default=True) else eos
        if attributes.flag("user_decoder_start_tokens", default=False):
            start = None
        return cls(
            unk_token=file.texts.get("unk_token", cls.unk_token),
            bos_token=bos,
            eos_token=eos,
            decoder_start_token=start,
            add_source_bos=attributes.flag("with_source_bos", default=False),
            add_source_eos=attributes.flag("with_source_eos", default=False),
            **alignment,
        )

    @classmethod
    def from_config(cls, config: Settings, alignment: Mapping[str, int]) -> Conventions:
        start = config.values.get("decoder_start_token", cls.decoder_start_token)
        return cls(
            unk_token=config.text("unk_token", cls.unk_token),
            bos_token=config.text("bos_token", cls.bos_token),
            eos_token=config.text("eos_token", cls.eos_token),
            decoder_start_token=start and config.text("decoder_start_token", ""),
            add_source_bos=config.flag("add_source_bos", default=False),
            add_source_eos=config.flag("add_source_eos", default=False),
            **alignment,
        )

    def tokenizer_settings(self) -> dict[str, Any]:
        """Settings of :class:`pytransformer.tokenizers.vocabulary_list.VocabularyListTokenizer`."""
        ends = self.add_source_eos or self.decoder_start_token != _PLAIN_START
        return {**asdict(self), "texts_end": ends}


@dataclass(frozen=True)
class Vocabularies:
    """Tokens in the order of their ids, and the files that cut text, if any."""

    source: Sequence[str]
    target: Sequence[str]
    source_path: Path
    target_path: Path
    pieces: Mapping[str, bytes]

    @classmethod
    def read(
        cls, directory: Path, conventions: Conventions, source_size: int, target_size: int
    ) -> Vocabularies:
        """Those of a directory, which must name each row of the embeddings."""
        shared = _find(directory, "shared_vocabulary")
        paths = {
            "source": shared or _require(directory, "source_vocabulary"),
            "target": shared or _require(directory, "target_vocabulary"),
        }
        sizes = {"source": source_size, "target": target_size}
        tokens = {}
        for side, path in paths.items():
            tokens[side] = _with_unknown(_read_tokens(path), conventions.unk_token)
            if len(tokens[side]) != sizes[side]:
                raise CheckpointError(
                    f"{path}: {len(tokens[side])} tokens with {conventions.unk_token!r}, but "
                    f"the model has embeddings for {sizes[side]}"
                )
        return cls(
            tokens["source"],
            tokens["target"],
            paths["source"],
            paths["target"],
            _read_pieces(directory),
        )

    def target_id(self, token: str) -> int | None:
        """The id of a target token, or None."""
        return self.target.index(token) if token in self.target else None

    def tokenizer_files(self) -> dict[str, bytes]:
        """Files of the tokenizer of kind "vocabulary_list"."""
        return {
            "source_vocabulary.json": _as_json(self.source),
            "target_vocabulary.json": _as_json(self.target),
            **self.pieces,
        }


def _find(directory: Path, name: str) -> Path | None:
    for suffix in (".json", ".txt"):
        path = directory / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def _require(directory: Path, name: str) -> Path:
    path = _find(directory, name)
    if path is None:
        raise CheckpointError(
            f"{directory}: no shared_vocabulary and no {name}, expected a .json or .txt of one "
            "(several features for each source token are not supported)"
        )
    return path


def _read_tokens(path: Path) -> list[str]:
    content = path.read_bytes()
    if path.suffix == ".json":
        return checked_tokens(path, "the file", parse_json(content, path))
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: byte {error.start} is not UTF-8 text") from None
    if lines[-1] == "":
        lines.pop()
    # A token may end with a carriage return, but then not all do.
    if lines and all(line.endswith("\r") for line in lines):
        lines = [line[:-1] for line in lines]
    return lines


def _with_unknown(tokens: list[str], unknown: str) -> list[str]:
    return tokens if unknown in tokens else [*tokens, unknown]


def _read_pieces(directory: Path) -> dict[str, bytes]:
    """What cuts text on both sides, or nothing."""
    found = read_cutters(directory, dict.fromkeys(("source.spm", "target.spm"), _T5_PIECES))
    beside = directory.parent / _BESIDE
    if not found and beside.is_file():
        found = dict.fromkeys(("source.spm", "target.spm"), beside.read_bytes())
    return found if len(found) == len(_SIDES) else {}


def _as_json(tokens: Sequence[str]) -> bytes:
    return json.dumps(tokens, ensure_ascii=False).encode()
