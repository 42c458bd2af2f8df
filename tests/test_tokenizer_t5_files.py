"""Files of T5's tokenizers that are missing, broken or do not fit the model."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import T5Tokenizer

from mutations import damaged
from pytransformer import tokenizers
from pytransformer.errors import CheckpointError, OptionError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer
from pytransformer.model_spec import TokenizerSpec
from t5_tokenizers import Pair, save_again, write_json, write_pieces


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but spiece.model."""
    return write_pieces(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="module")
def saved(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as transformers saves it: tokenizer.json and tokenizer_config.json."""
    return save_again(pieces, tmp_path_factory.mktemp("saved"))


def test_more_embeddings_than_tokens(saved: Path) -> None:
    """An embedding may have rows without a token, which transformers leaves out of texts."""
    pair = Pair(saved, T5Tokenizer.from_pretrained, size=400)
    size = len(pair.theirs)
    ids = [*pair.ours.encode_ids("ein Hund")[:-1], size, 399, *pair.ours.encode_ids("läuft")]
    assert pair.ours.decode(ids) == pair.theirs.decode(ids, skip_special_tokens=True)
    assert pair.ours.target_tokens([399]) == ["<unused_399>"]
    for token_id in (-1, 400):
        for method in (pair.ours.decode, pair.ours.target_tokens):
            with pytest.raises(OptionError, match=f"no token has the id {token_id}"):
                method([5, token_id])


def test_added_tokens_without_an_embedding(pieces: Path) -> None:
    """The placeholders that a tokenizer adds by itself need not be there."""
    count = count_pieces(pieces)
    ours = Pair(pieces, T5Tokenizer.from_pretrained, size=count + 100).ours
    assert max(ours.encode_ids("<extra_id_0> <extra_id_99>")) == count + 99
    with pytest.raises(CheckpointError, match=f"{count + 100} pieces.* {count + 99} embeddings"):
        Pair(pieces, T5Tokenizer.from_pretrained, size=count + 99)


def read(path: Path, size: int = 10_000, **config: Any) -> tuple[TokenizerSpec, dict[str, bytes]]:
    return read_tokenizer(path, Settings(config, path / "config.json"), size)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"spiece.model or tokenizer.json"):
        read(tmp_path)


def test_split_special_tokens(pieces: Path, tmp_path: Path) -> None:
    shutil.copy(pieces / "spiece.model", tmp_path)
    write_json(tmp_path, "tokenizer_config", {"split_special_tokens": True})
    with pytest.raises(UnsupportedModelError, match="split_special_tokens"):
        read(tmp_path)


def test_another_tokenizer_without_its_file(pieces: Path, tmp_path: Path) -> None:
    """T5's own file is none for another tokenizer."""
    shutil.copy(pieces / "spiece.model", tmp_path)
    write_json(tmp_path, "tokenizer_config", {"tokenizer_class": "RobertaTokenizerFast"})
    with pytest.raises(CheckpointError, match=r"RobertaTokenizer is missing: tokenizer.json"):
        read(tmp_path)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "no-model": ({"model": None}, "model"),
    "no-type": ({"normalizer": {"kind": 3}}, "type"),
    "unknown": ({"unk_id": None}, "unk_id"),
    "unknown-out-of-reach": ({"unk_id": 5000}, "5000"),
    "no-score": ({"vocab": [["a", None]]}, "vocab"),
    "not-finite": ({"vocab": [["</s>", float("nan")]] * 3}, "finite"),
    "added": ({"added_tokens": [{"id": "7", "content": "x"}]}, "added_tokens"),
    "no-map": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}},
        "precompiled_charsmap",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_broken_tokenizer_json(name: str, saved: Path, tmp_path: Path) -> None:
    change, message = copy.deepcopy(CHANGES[name])
    content = json.loads((saved / "tokenizer.json").read_text())
    for key in ("unk_id", "vocab"):
        if key in change:
            content["model"][key] = change.pop(key)
    write_json(tmp_path, "tokenizer", {**content, **change})
    write_json(tmp_path, "tokenizer_config", {"eos_token": "</s>", "extra_ids": 0})
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path)
    assert "tokenizer.json" in str(caught.value)


def test_end_token_without_an_embedding(pieces: Path, tmp_path: Path) -> None:
    shutil.copy(pieces / "spiece.model", tmp_path)
    write_json(tmp_path, "tokenizer_config", {"eos_token": "<end>", "extra_ids": 0})
    with pytest.raises(CheckpointError, match=r"spiece.model: lacks the end token '<end>'"):
        read(tmp_path, size=count_pieces(pieces))


def count_pieces(path: Path) -> int:
    model = str(path / "spiece.model")
    size: int = sentencepiece.SentencePieceProcessor(model_file=model).get_piece_size()
    return size


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"added_tokens_decoder": []}, "added_tokens_decoder"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "added_tokens_decoder"),
        ({"added_tokens_decoder": {"9" * 5000: {"content": "a"}}}, "added_tokens_decoder"),
        ({"added_tokens_decoder": {"3": {}}}, "not text"),
        ({"eos_token": 3}, "not text"),
        ({"extra_special_tokens": "x"}, "extra_special_tokens"),
        ({"extra_ids": -1}, "extra_ids"),
        ({"extra_ids": 10**9}, "extra_ids"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_broken_settings(
    config: dict[str, Any], message: str, pieces: Path, tmp_path: Path
) -> None:
    shutil.copy(pieces / "spiece.model", tmp_path)
    write_json(tmp_path, "tokenizer_config", config)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)


def test_damaged_sentencepiece_model(pieces: Path, tmp_path: Path) -> None:
    """Every truncation and damage gives our error, or a tokenizer that works."""
    content = (pieces / "spiece.model").read_bytes()
    reach = 12_000  # all pieces, and the beginning of the normalisation
    for changed in damaged(content, 250, reach=reach):
        (tmp_path / "spiece.model").write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            tokenizers.create(*read(tmp_path)).encode_ids("ein Hund läuft \ufb01 o\u0301.")


def test_truncated_sentencepiece_model(pieces: Path, tmp_path: Path) -> None:
    content = (pieces / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"spiece.model: not a sentencepiece model"):
        read(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"")
    with pytest.raises(CheckpointError, match="without pieces"):
        read(tmp_path)


def test_broken_files(saved: Path) -> None:
    spec, files = read(saved)
    for name in files:
        for content in (None, b"", b"broken", b'{"a": 1}', b"[" * 100_000):
            changed = {key: value for key, value in files.items() if key != name}
            if content is not None:
                changed[name] = content
            try:
                tokenizers.create(spec, changed).encode_ids("ein Hund \ufb01")
            except CheckpointError:
                continue
            pytest.fail(f"{name} was taken with {content!r}")
    with pytest.raises(CheckpointError):
        tokenizers.create(TokenizerSpec("t5", {}), files)
