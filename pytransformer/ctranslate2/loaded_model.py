"""A model as CTranslate2's classes use it: engine, tokens and conventions."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytransformer import _native
from pytransformer.ctranslate2.errors import ModelError, as_ctranslate2
from pytransformer.ctranslate2.vocabulary_map import VocabularyMap
from pytransformer.errors import CheckpointError
from pytransformer.loaders.ctranslate2 import MODEL_FILE, read
from pytransformer.loaders.ctranslate2_vocabulary import Conventions, Vocabularies
from pytransformer.loaders.huggingface import Settings
from pytransformer.model_files import OpenModel, open_model
from pytransformer.native_header import is_native
from pytransformer.sentences import SentenceTranslator

CONFIG_FILE = "config.json"
VOCABULARY_MAP_FILE = "vmap.txt"


@dataclass(frozen=True)
class Threads:
    """Workers, and threads of each; 0 shares out the cores."""

    workers: int
    each: int


class LoadedModel:
    """An engine at work with one model, and the ids of its tokens."""

    def __init__(
        self,
        model: OpenModel,
        conventions: Conventions,
        vocabularies: Vocabularies,
        vocabulary_map: Path | None,
        threads: Threads,
    ) -> None:
        self.conventions = conventions
        self.compute_type = model.native.compute_type
        self._source = _Tokens(vocabularies.source, conventions.unk_token)
        self._target = _Tokens(vocabularies.target, conventions.unk_token)
        cores = max(1, _native.available_threads() // threads.workers)
        engine = _native.Engine(model.native, threads.workers, threads.each or cores)
        self.sentences = SentenceTranslator(model, engine, None)
        self.end_id = self._target.id(conventions.eos_token)
        self.unknown_id = self._target.id(conventions.unk_token)
        start = conventions.decoder_start_token
        # None: the first token of each prefix.
        self.start_id = None if start is None else model.generation.decoder_start_token_id
        self.vocabulary_map: VocabularyMap | None = None
        if vocabulary_map is not None and vocabulary_map.is_file():
            always = {self.unknown_id, self._target.id(conventions.bos_token), self.end_id}
            self.vocabulary_map = VocabularyMap(vocabulary_map, self._target.id, always)

    def source_ids(self, tokens: Sequence[str], max_length: int) -> list[int]:
        """What the encoder reads, at most `max_length` tokens (0: all)."""
        conventions = self.conventions
        begin = [conventions.bos_token] if conventions.add_source_bos else []
        end = [conventions.eos_token] if conventions.add_source_eos else []
        ids = self._source.ids([*begin, *tokens, *end])
        return _shortened(ids, max_length, self._source.id(conventions.eos_token))

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of target tokens, unknown ones as the unknown token's."""
        return self._target.ids(tokens)

    def scored_ids(self, tokens: Sequence[str], max_length: int) -> list[int]:
        """A target to be scored, with its start token if there is one, and its end token."""
        start = self.conventions.decoder_start_token
        given = [*([start] if start is not None else []), *tokens, self.conventions.eos_token]
        return _shortened(self.target_ids(given), max_length and max_length + 1, self.end_id)

    def known_target_id(self, token: str) -> int:
        """The id of a target token; ValueError for one that the vocabulary lacks."""
        if not self._target.has(token):
            raise ValueError(f"Token {token} is not in the vocabulary")
        return self._target.id(token)

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        return self._target.tokens(ids)

    def has_content(self, tokens: Sequence[str]) -> bool:
        """Whether there is something to translate, apart from begin and end tokens."""
        begin, end = self.conventions.bos_token, self.conventions.eos_token
        count = len(tokens)
        if count == 1:
            return tokens[0] not in (begin, end)
        if count >= 2:
            count -= tokens[0] == begin
            # A language may stand behind the end token.
            count -= 1 if tokens[-1] == end else 2 if tokens[-2] == end else 0
        return count > 0


class _Tokens:
    """A vocabulary; of a token that comes twice, the first one counts."""

    def __init__(self, tokens: Sequence[str], unknown: str) -> None:
        self._tokens = tokens
        self._ids: dict[str, int] = {}
        for token_id, token in enumerate(tokens):
            self._ids.setdefault(token, token_id)
        self._unknown = self._ids[unknown]

    def has(self, token: str) -> bool:
        return token in self._ids

    def id(self, token: str) -> int:
        return self._ids.get(token, self._unknown)

    def ids(self, tokens: Sequence[str]) -> list[int]:
        return [self._ids.get(token, self._unknown) for token in tokens]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._tokens[token_id] for token_id in ids]


def _shortened(ids: list[int], max_length: int, end: int) -> list[int]:
    """The first tokens, of which an end token, and one that stands behind it, stay last."""
    if not max_length or len(ids) <= max_length:
        return ids
    if ids[-1] == end:
        return [*ids[: max_length - 1], end]
    if max_length >= 2 and ids[-2] == end:
        return [*ids[: max_length - 2], end, ids[-1]]
    return ids[:max_length]


def load(
    path: str, files: Mapping[str, bytes] | None, compute_type: str, threads: Threads
) -> LoadedModel:
    """Opens a translation model in a directory, or one whose files are in memory.

    Raises ModelError, which is a RuntimeError, if it cannot be opened.
    """
    with as_directory(path, files) as directory:
        return _load_directory(path, directory, compute_type, threads)


@contextlib.contextmanager
def as_directory(path: str, files: Mapping[str, bytes] | None) -> Iterator[Path]:
    """A path as it is, or a directory with files that are in memory."""
    if files is None:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="pytransformer-") as directory:
        for name, content in files.items():
            if os.path.basename(name) != name or name in ("", ".", ".."):
                raise ValueError(f"files: {name!r} is not a plain file name")
            (Path(directory) / name).write_bytes(content)
        yield Path(directory)


def _load_directory(name: str, directory: Path, compute_type: str, threads: Threads) -> LoadedModel:
    model_file = directory / MODEL_FILE
    if not model_file.is_file():
        raise ModelError(f"Unable to open file '{MODEL_FILE}' in model '{name}'")
    with as_ctranslate2():
        if is_native(model_file):
            model = open_model(model_file, compute_type)
            conventions, vocabularies = _read_beside(directory, model)
        else:
            converted = read(directory)
            conventions, vocabularies = converted.conventions, converted.vocabularies
            model = open_model(converted.checkpoint, compute_type)
        return LoadedModel(
            model, conventions, vocabularies, directory / VOCABULARY_MAP_FILE, threads
        )


def _read_beside(directory: Path, model: OpenModel) -> tuple[Conventions, Vocabularies]:
    """What our converters write beside the native model."""
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory}: no {CONFIG_FILE} beside the model")
    config = Settings.read(path)
    alignment = {
        "alignment_layer": config.integer("alignment_layer", -1, -(2**15), 2**15),
        "alignment_heads": config.integer("alignment_heads", 1, 0, 2**15),
    }
    conventions = Conventions.from_config(config, alignment)
    sizes = model.spec.encoder.vocab_size, model.spec.decoder.vocab_size
    return conventions, Vocabularies.read(directory, conventions, *sizes)


def file_contents(files: Any) -> dict[str, bytes]:
    """The contents of files in memory, each given as bytes or as something to read.

    Raises TypeError for anything else.
    """
    if not isinstance(files, dict):
        raise TypeError(
            "files argument must be a dictionary mapping file names to the file contents"
        )
    contents = {}
    for name, content in files.items():
        if hasattr(content, "read"):
            content = content.read()
        if not isinstance(content, bytes):
            raise TypeError("File content must be a file-like or bytes object")
        contents[str(name)] = content
    return contents
