"""Our tokenizers of T5's family beside transformers', for one directory."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers.convert_slow_tokenizer
from transformers import AddedToken, T5Tokenizer
from transformers.utils import is_protobuf_available

from pytransformer import tokenizers
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer
from pytransformer.loaders.sentencepiece_file import CONTROL, USER_DEFINED, read_sentencepiece
from pytransformer.tokenizers import Tokenizer
from t5_models import train_pieces

_WORDS = (
    "a the dog man street snow water runs stands plays red green small old on with under two house "
    "ein der Hund Straße Schnee läuft steht spielt grün klein auf für über zwei Häuser Bäume rot "
    "été garçon dans l'eau près où ça déjà un homme petite rouge vert ... - -- 12 1990 $5 50% (x)"
)


class Pair:
    """Our tokenizer and transformers' for one directory."""

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], Any],
        size: int = 10_000,
        **config: Any,
    ) -> None:
        _do_without_protobuf()
        spec, files = read_tokenizer(path, Settings(config, path / "config.json"), size)
        self.ours: Tokenizer = tokenizers.create(spec, files)
        self.theirs = read(path)

    def assert_equal(self, text: str) -> None:
        """The same ids for a text, and the same text for these ids."""
        ids = self.theirs(text).input_ids
        assert self.ours.encode_ids(text) == ids
        self.assert_decodes_equal(ids)

    def assert_decodes_equal(self, ids: list[int]) -> None:
        assert self.ours.decode(ids) == self.theirs.decode(ids, skip_special_tokens=True)
        assert self.ours.target_tokens(ids) == self.theirs.convert_ids_to_tokens(ids)

    def assert_decodes_random_ids(self) -> None:
        generator = random.Random(0)
        for _ in range(300):
            length = generator.randrange(20)
            self.assert_decodes_equal(
                [generator.randrange(len(self.theirs)) for _ in range(length)]
            )


def write_pieces(path: Path, size: int = 250, **options: Any) -> Path:
    """Puts a sentencepiece model of a few languages into the folder `path`, which may exist."""
    path.mkdir(exist_ok=True)
    words = _WORDS.split()
    lines = tuple(
        " ".join(words[(i * k + i) % len(words)] for k in range(3, 9)) + "." for i in range(400)
    )
    (path / "spiece.model").write_bytes(train_pieces(size, lines, **options))
    return path


def save_again(pieces: Path, path: Path) -> Path:
    """What transformers saves after it has read the folder `pieces`, in the folder `path`."""
    Pair(pieces, T5Tokenizer.from_pretrained).theirs.save_pretrained(path)
    return path


def write_json(path: Path, name: str, content: Any) -> None:
    (path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


class _Extractor:
    """What transformers has protobuf for; its own code makes the tokenizer of it."""

    def __init__(self, path: str) -> None:
        self._model = read_sentencepiece(Path(path))

    def extract(self, model: Any, **arguments: Any) -> dict[str, Any]:
        pieces = self._model.pieces
        symbols = [
            AddedToken(piece, normalized=False, special=kind == CONTROL)
            for piece, kind in zip(pieces, self._model.kinds, strict=True)
            if kind in (CONTROL, USER_DEFINED)
        ]
        return {
            **arguments,
            "vocab": list(zip(pieces, self._model.scores, strict=True)),
            "additional_special_tokens": symbols,
            "_spm_precompiled_charsmap": self._model.character_map or None,
        }


def _do_without_protobuf() -> None:
    if not is_protobuf_available():
        transformers.convert_slow_tokenizer.SentencePieceExtractor = _Extractor
