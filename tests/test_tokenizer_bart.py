"""BART's tokenizer, and any tokenizer.json, against those of transformers."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from fast_tokenizers import write as write_fast
from pytransformer.errors import CheckpointError, OptionError, UnsupportedModelError
from tokenizer_pairs import (
    TEXTS,
    Pair,
    corpus,
    edit_json,
    open_ours,
    sentences,
    write_config,
    write_json,
)

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@functools.cache
def train(lines: tuple[str, ...] = (), size: int = 400) -> library.Tokenizer:
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_SPECIAL,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines or sentences(), trainer)
    return tokenizer


def write(path: Path, lines: tuple[str, ...] = (), **config: Any) -> Path:
    write_config(path, "bart", **config)
    train(lines, 2000 if lines else 400).model.save(str(path))
    return path


def save_again(path: Path, target: Path) -> Path:
    AutoTokenizer.from_pretrained(path).save_pretrained(target)
    shutil.copy(path / "config.json", target)
    return target


def _older_mask(path: Path) -> None:
    """tokenizer_config.json as transformers 4 writes it: <mask> takes the space before it."""
    flags = {"lstrip": False, "rstrip": False, "normalized": True, "single_word": False}
    tokens = {
        i: {**flags, "content": token, "special": True, "lstrip": token == "<mask>"}
        for i, token in enumerate(_SPECIAL)
    }
    edit_json(path / "tokenizer_config.json", added_tokens_decoder=tokens)


@pytest.fixture(scope="module", params=["written", "saved again", "older", "prefix space"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    spaced = request.param == "prefix space"
    path = write(tmp_path_factory.mktemp("bart"), add_prefix_space=spaced)
    if request.param == "older":
        _older_mask(path)
    return Pair(save_again(path, path / "again") if request.param == "saved again" else path)


def test_equal_to_transformers(pair: Pair) -> None:
    for text in TEXTS:
        pair.assert_equal(text)
    pair.assert_random_ids_decode_equal()


@given(st.lists(st.sampled_from([*"aeinHund <>'s1", "</s>", "<mask>", "Ġ", "½"]), max_size=12))
@settings(max_examples=150, deadline=None)
def test_random_text_with_special_tokens(pair: Pair, parts: list[str]) -> None:
    pair.assert_equal("".join(parts))


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_random_text(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


def test_corpora(shared_data: Path, tmp_path: Path) -> None:
    lines, training = corpus(shared_data)
    Pair(write(tmp_path, training)).assert_lines_equal(lines)


def test_tokens(pair: Pair) -> None:
    ours = pair.ours
    tokens = ours.encode("ein Hund")
    assert tokens[0] == "<s>"
    assert "</s>" not in tokens
    ids = pair.theirs("ein Hund").input_ids
    assert ours.source_ids(tokens) == ours.source_ids([*tokens, "</s>"]) == ids
    assert ours.source_ids([]) == [2]
    assert ours.target_ids(["no such token"]) == [3] == [ours.unknown_id]
    assert ours.target_ids(ours.encode_target("ein Hund")) == ids[1:-1]
    assert ours.decode_tokens(ours.encode_target("ein Hündchen")).strip() == "ein Hündchen"
    assert ours.forced_bos_id(None) is ours.decoder_start_id(None) is None
    assert ours.source_languages == ours.target_languages == ()
    with pytest.raises(OptionError, match="has no languages to choose from"):
        ours.encode("Hund", tgt_lang="de")


def test_added_tokens(tmp_path: Path) -> None:
    path = write(tmp_path)
    write_json(path / "added_tokens.json", {"<name>": 400, "Straße": 401})
    for directory in (path, save_again(path, tmp_path / "again")):
        pair = Pair(directory)
        for text in ("ein <name> Hund", "Straßen Straße", "<name>"):
            pair.assert_equal(text)


def test_clean_up_is_left_out(tmp_path: Path) -> None:
    pair = Pair(write(tmp_path, clean_up_tokenization_spaces=True))
    pair.assert_equal("ein Hund , und . don ' t")


@pytest.mark.parametrize("name", ["mbart50", "pegasus"])
def test_tokenizer_of_no_family(tmp_path: Path, name: str) -> None:
    """All of tokenizer.json counts then, whatever it is made of."""
    path = save_again(write_fast(tmp_path / "fast", name), tmp_path / "again")
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    write_config(path, "bart", tokenizer_class="PreTrainedTokenizerFast", **names)
    pair = Pair(path)
    for text in TEXTS:
        pair.assert_equal(text)
    pair.assert_random_ids_decode_equal()


def _template(*tokens: str) -> dict[str, Any]:
    """Puts tokens around the text, which is "A"."""
    ids = {token: i for i, token in enumerate(_SPECIAL)}
    items = [
        {"SpecialToken" if token in ids else "Sequence": {"id": token, "type_id": 0}}
        for token in tokens
    ]
    known = {
        token: {"id": token, "ids": [ids[token]], "tokens": [token]}
        for token in tokens
        if token in ids
    }
    second = {"Sequence": {"id": "B", "type_id": 1}}
    single = {"type": "TemplateProcessing", "single": items}
    return {**single, "pair": [*items, second], "special_tokens": known}


_BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    "processor",
    [
        None,
        _BYTES,
        {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]},
        _template("A", "</s>"),
        _template("<s>", "<pad>", "A"),
        {"type": "Sequence", "processors": [_BYTES, _template("<s>", "A", "</s>", "<pad>")]},
        {"type": "Sequence", "processors": [_template("A", "</s>"), _template("<s>", "A")]},
    ],
)
def test_what_stands_around_texts(tmp_path: Path, processor: Any) -> None:
    path = save_again(write(tmp_path), tmp_path / "again")
    edit_json(path / "tokenizer.json", post_processor=processor)
    edit_json(path / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    pair = Pair(path)
    for text in ("", "ein Hund", "</s>"):
        pair.assert_equal(text)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("vocab.json", b"{", "broken JSON"),
        ("vocab.json", b'{"a": 1}', "ids should be 0 to 0"),
        ("vocab.json", b'{"a": 0}', "lacks the token '<s>'"),
        ("merges.txt", b"#version: 0.2\na b c\n", "no pair of pieces"),
        ("merges.txt", b"\xff", "byte 0 is not UTF-8 text"),
        ("tokenizer.json", b'{"model": {"vocab": {}}}', "the model has no merges"),
    ],
)
def test_broken_files(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    path = write(tmp_path)
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        open_ours(path, 1)
    assert file in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"post_processor": {"type": "Unheard"}}, "post_processor 'Unheard' is not supported"),
        ({"post_processor": {"type": "BertProcessing"}}, "post_processor .* is broken"),
        ({"post_processor": {"type": "TemplateProcessing", "single": [3]}}, "is broken"),
        ({"post_processor": {"type": "BertProcessing", "cls": [3], "sep": [""]}}, "is broken"),
        ({"post_processor": {"type": "Sequence", "processors": 3}}, "is broken"),
        ({"pre_tokenizer": {"type": "Unheard"}}, "tokenizer.json: "),
        ({"model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}, "tokenizer.json: "),
    ],
)
def test_broken_parts(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = save_again(write(tmp_path), tmp_path / "again")
    edit_json(path / "tokenizer.json", **change)
    edit_json(path / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    with pytest.raises(CheckpointError, match=message):
        open_ours(path)


def test_library_that_panics(tmp_path: Path) -> None:
    """Which is no Exception."""
    path = save_again(write(tmp_path), tmp_path / "again")
    normalizer = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    edit_json(path / "tokenizer.json", normalizer=normalizer)
    edit_json(path / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: "):
        open_ours(path)


def test_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"missing: merges\.txt or tokenizer"):
        open_ours(path)
    edit_json(path / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(CheckpointError, match=r"missing: tokenizer\.json"):
        open_ours(path)


def test_sizes(tmp_path: Path) -> None:
    path = write(tmp_path)
    ours = open_ours(path, 403)
    assert ours.target_tokens([402]) == ["<unused_402>"]
    assert ours.decode([402]) == ""
    with pytest.raises(OptionError, match="no token has the id 403"):
        ours.decode([403])
    with pytest.raises(CheckpointError, match="400 pieces, but there are 399 embeddings"):
        open_ours(path, 399)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UnsupportedModelError, match=r"pip install 'pytransformer\[tokenizers\]'"):
        open_ours(path)


def test_words(tmp_path: Path) -> None:
    ours: Any = open_ours(write(tmp_path))
    tokens = ours.source_tokens(ours.encode_ids("der Hündin, ein Baum."))
    words = [word.text for word in ours.words(tokens)]
    assert words == ["der", "Hündin,", "ein", "Baum."]
    assert all(map(ours.continues_word, ("und", "Ã¤", "¤")))
    assert not any(map(ours.continues_word, ("ĠHund", "Ġ", ",", "</s>", "Ċ")))
