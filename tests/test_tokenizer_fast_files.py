"""Tokenizers of NLLB, mBART, mBART-50 and Pegasus: files of all versions, and broken ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fast_tokenizers import CLASSES, FAMILIES, PIECES, list_nllb, save_again, write
from mutations import damaged
from pytransformer.errors import (
    CheckpointError,
    OptionError,
    PytransformerError,
    UnsupportedModelError,
)
from tokenizer_pairs import (
    TEXTS,
    Pair,
    edit_json,
    open_ours,
    train,
    write_config,
    write_json,
)


def test_nllb_without_a_list(tmp_path: Path) -> None:
    """transformers 5 forgets the languages, older versions put <mask> before them."""
    listed = open_ours(write(tmp_path / "listed", "nllb"))
    write_config(tmp_path / "bare", "m2m_100", tokenizer_class="NllbTokenizer")
    (tmp_path / "bare" / "sentencepiece.bpe.model").write_bytes(train("bpe"))
    bare = open_ours(tmp_path / "bare")
    for text in TEXTS:
        assert bare.encode_ids(text) == listed.encode_ids(text)
    assert bare.forced_bos_id("zul_Latn") == listed.forced_bos_id("zul_Latn")
    (tmp_path / "bare" / "tokenizer_config.json").unlink()
    assert open_ours(tmp_path / "bare").encode_ids("Hund") == bare.encode_ids("Hund")


def test_tokenizer_json_without_languages(tmp_path: Path) -> None:
    path = write(tmp_path, "nllb")
    list_nllb(path, 0)
    path = save_again(path, tmp_path / "again")
    with pytest.raises(CheckpointError, match="no token of a language"):
        open_ours(path)


@pytest.mark.parametrize("name", ["mbart", "mbart50", "pegasus"])
def test_older_files(tmp_path: Path, name: str) -> None:
    """Named tokens in special_tokens_map.json, those that were added in added_tokens.json."""
    path = write(tmp_path, name)
    mask = {"content": "<MASK>", "lstrip": True, "rstrip": False, "normalized": False}
    named = {"mask_token": {**mask, "single_word": False}} if name != "pegasus" else {}
    write_json(path / "special_tokens_map.json", {"eos_token": "</s>", **named})
    size = len(Pair(path).theirs)
    write_json(path / "added_tokens.json", {"<name>": size, "Straße": size + 1})
    pair = Pair(path)
    for text in (*TEXTS, "ein <name> Hund <MASK>.", "<MASK><name>", "Straßen Straße"):
        pair.assert_equal(text)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("from_json", [False, True])
def test_added_tokens(tmp_path: Path, name: str, from_json: bool) -> None:
    path = write(tmp_path, name)
    size = len(Pair(path).theirs)
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    tokens = {
        size: {**flags, "content": "<sep>", "special": True, "rstrip": True},
        size + 1: {**flags, "content": "Straße", "special": False, "normalized": True},
        size + 2: {**flags, "content": "zwei½", "special": False, "normalized": True},
    }
    options = json.loads((path / "tokenizer_config.json").read_text())
    listed = {**options.get("added_tokens_decoder", {}), **tokens}
    edit_json(path / "tokenizer_config.json", added_tokens_decoder=listed)
    pair = Pair(save_again(path, path / "again") if from_json else path)
    for text in (*TEXTS, "ein <sep> Hund", "Straßen Straße"):
        pair.assert_equal(text)
    for text in ("ein zwei½", "zwei1⁄2 "):
        assert pair.ours.encode_ids(text) == pair.theirs(text).input_ids


@pytest.mark.parametrize("name", ["mbart", "mbart50", "pegasus"])
def test_class_in_the_models_config(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    (path / "tokenizer_config.json").unlink()
    edit_json(path / "config.json", tokenizer_class=CLASSES[name])
    pair = Pair(path)
    for text in TEXTS:
        pair.assert_equal(text)


@pytest.mark.parametrize("name", ["nllb", "mbart50", "pegasus"])
def test_without_a_map_of_characters(tmp_path: Path, name: str) -> None:
    path = save_again(write(tmp_path, name), tmp_path / "again")
    edit_json(path / "tokenizer.json", normalizer=None)
    pair = Pair(path)
    for text in TEXTS:
        pair.assert_equal(text)


def test_pegasus_masks(tmp_path: Path) -> None:
    """They come first, whatever they are called; transformers 5 swaps them, or shifts the rest."""
    plain = open_ours(write(tmp_path / "plain", "pegasus"))
    config = {"mask_token": "<mask_2>", "mask_token_sent": "<mask_1>"}
    for name in ("mask_token", "mask_token_sent"):
        ours = open_ours(write(tmp_path / name, "pegasus", **{name: config[name]}))
        assert ours.encode_ids("<mask_1> <mask_2>Hund") == plain.encode_ids("<mask_1> <mask_2>Hund")
    assert plain.source_tokens(range(6)) == [
        "<pad>",
        "</s>",
        "<mask_1>",
        "<mask_2>",
        "<unk_2>",
        "<unk_3>",
    ]
    assert plain.source_tokens([105]) == ["<unk>"]


def test_merges_of_older_versions(tmp_path: Path) -> None:
    """Pairs in one text, and of one piece the one with the longer left part first."""
    path = save_again(write(tmp_path, "nllb"), tmp_path / "again")
    content = json.loads((path / "tokenizer.json").read_text())
    merges = [tuple(pair) for pair in content["model"]["merges"]]
    ids = content["model"]["vocab"]
    merges.sort(key=lambda pair: (ids["".join(pair)], -len(pair[0])))
    content["model"]["merges"] = [" ".join(pair) for pair in merges]
    write_json(path / "tokenizer.json", content)
    pair = Pair(path)
    for text in TEXTS:
        pair.assert_equal(text)


def test_order_of_merges(tmp_path: Path) -> None:
    """Not that of the pieces."""
    path = save_again(write(tmp_path, "nllb"), tmp_path / "again")
    content = json.loads((path / "tokenizer.json").read_text())
    content["model"]["merges"].reverse()
    write_json(path / "tokenizer.json", content)
    pair = Pair(path)
    for text in TEXTS:
        pair.assert_equal(text)


@pytest.mark.parametrize(
    "change", [lambda merges: merges[1:], lambda merges: merges[::2] + merges[1::2]]
)
def test_other_merges(tmp_path: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    path = save_again(write(tmp_path, "nllb"), tmp_path / "again")
    content = json.loads((path / "tokenizer.json").read_text())
    content["model"]["merges"] = change(content["model"]["merges"])
    write_json(path / "tokenizer.json", content)
    with pytest.raises(UnsupportedModelError, match="merges are not those of a sentencepiece"):
        open_ours(path)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("nllb", "sentencepiece.bpe.model", b"\x0a\x05broken", "not a sentencepiece model"),
        ("mbart", "sentencepiece.bpe.model", b"", "without pieces"),
        ("mbart", "tokenizer.json", b"{", "broken JSON"),
        ("mbart", "tokenizer.json", b"[]", "not a JSON object"),
        ("mbart", "tokenizer.json", b"{}", "model should be an object"),
        ("mbart", "tokenizer.json", b'{"model": {"vocab": 3}}', "a map of tokens to ids"),
        ("mbart", "tokenizer.json", b'{"model": {"vocab": {"a": 5}}}', "ids should be 0 to 0"),
        ("mbart", "tokenizer.json", b'{"model": {"vocab": [["a", "b"]]}}', "a piece and its score"),
        ("mbart", "tokenizer.json", b'{"model": {"vocab": [["<unk>", NaN]]}}', "finite score"),
        ("mbart", "tokenizer.json", b'{"model": {"vocab": [["a", 1]]}}', "lacks the token '<unk>'"),
        ("mbart", "tokenizer.json", b'{"model": {"vocab": [], "x": 1}}', "lacks the token"),
        ("nllb", "tokenizer.json", b'{"model": {"vocab": {}, "merges": 3}}', "should be a list"),
        (
            "nllb",
            "tokenizer.json",
            b'{"model": {"vocab": {}, "merges": ["a"]}}',
            "no pair of pieces",
        ),
        ("nllb", "tokenizer.json", b'{"model": {"vocab": {}}}', "with this tokenizer_class"),
        (
            "mbart",
            "tokenizer.json",
            b'{"model": {"vocab": []}, "added_tokens": [{"id": -1}]}',
            "added_tokens should be",
        ),
        (
            "mbart",
            "tokenizer.json",
            b'{"model": {}, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}}',
            "not base64",
        ),
        ("mbart", "tokenizer_config.json", b'{"extra_special_tokens": [3]}', "is not text"),
        ("mbart", "tokenizer_config.json", b'{"extra_special_tokens": 3}', "a list of tokens"),
        ("mbart", "tokenizer_config.json", b'{"added_tokens_decoder": {"x": {}}}', "a map of ids"),
        ("mbart", "tokenizer_config.json", b'{"unk_token": null}', "unk_token should be a token"),
        ("mbart", "tokenizer_config.json", b'{"src_lang": 3}', "src_lang should be text"),
        ("mbart", "tokenizer_config.json", b'{"tokenizer_class": "Unheard"}', "'Unheard'.* known"),
        ("mbart", "tokenizer_config.json", b'{"sp_model_kwargs": {"alpha": 1}}', "sp_model_kwargs"),
        ("mbart", "tokenizer_config.json", b'{"split_special_tokens": true}', "split_special"),
        ("mbart", "special_tokens_map.json", b"[]", "not a JSON object"),
        ("mbart", "added_tokens.json", b'{"a": "b"}', "is not a number"),
        ("mbart", "generation_config.json", b"3", "not a JSON object"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, file: str, content: bytes, message: str) -> None:
    path = write(tmp_path, name)
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"(?s){message}") as error:
        open_ours(path)
    assert file in str(error.value) or "lacks the token" in message


def test_single_words(tmp_path: Path) -> None:
    token = {"content": "Hund", "single_word": True}
    path = write(tmp_path, "mbart", added_tokens_decoder={"900": token})
    with pytest.raises(UnsupportedModelError, match="single_word"):
        open_ours(path)


@pytest.mark.parametrize("name", FAMILIES)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    """They are read, or refused with an error of ours."""
    path = save_again(write(tmp_path / "first", name), tmp_path / "again")
    shutil.copy(tmp_path / "first" / PIECES[name][0], path)
    refused = 0
    for file in (path / "tokenizer.json", path / "tokenizer_config.json", path / PIECES[name][0]):
        for content in damaged(file.read_bytes(), 40, reach=4000):
            file.write_bytes(content)
            try:
                ours = open_ours(path)
                ours.decode(ours.encode_ids("ein <mask> Hund ½"))
            except PytransformerError:
                refused += 1
        file.unlink()
    assert refused > 20


@pytest.mark.parametrize("name", FAMILIES)
def test_missing_files(tmp_path: Path, name: str) -> None:
    file = PIECES[name][0]
    path = write(tmp_path, name)
    (path / file).unlink()
    with pytest.raises(CheckpointError, match=f"file is missing: {file} or tokenizer.json"):
        open_ours(path)


@pytest.mark.parametrize("name", FAMILIES)
def test_sizes(tmp_path: Path, name: str) -> None:
    """Embeddings without a token are read as such; more pieces than embeddings are refused."""
    pair = Pair(write(tmp_path, name))
    size = len(pair.theirs)
    ours = open_ours(tmp_path, size + 2)
    assert ours.target_tokens([size, size + 1]) == [f"<unused_{size}>", f"<unused_{size + 1}>"]
    assert ours.decode([size, size + 1]) == ""
    for token_id in (-1, size + 2):
        for method in (ours.decode, ours.target_tokens, ours.source_tokens):
            with pytest.raises(OptionError, match=f"no token has the id {token_id}"):
                method([token_id])
    with pytest.raises(CheckpointError, match="pieces, but there are 40 embeddings"):
        open_ours(tmp_path, 40)
