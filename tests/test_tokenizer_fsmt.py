"""FSMT's tokenizer against that of transformers."""

from __future__ import annotations

import collections
import functools
import itertools
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sacremoses
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import FSMTTokenizer

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

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
Merges = list[tuple[str, str]]


def train(lines: Iterable[str], count: int) -> tuple[Merges, list[str]]:
    """Pairs to merge, most frequent first, and all symbols that they make of the lines' words."""
    moses = sacremoses.MosesTokenizer("en")
    words = collections.Counter(
        word for line in lines for word in moses.tokenize(line, aggressive_dash_splits=True)
    )
    cut = {(*word[:-1], word[-1] + "</w>"): number for word, number in words.items()}
    symbols = {symbol for word in cut for symbol in word}
    merges: Merges = []
    for _ in range(count):
        pairs: collections.Counter[tuple[str, str]] = collections.Counter()
        for word, number in cut.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += number
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        cut = {_merged(word, best): number for word, number in cut.items()}
    symbols.update(a + b for a, b in merges)
    return merges, sorted(symbols | {symbol + "</w>" for symbol in symbols if len(symbol) == 1})


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


@functools.cache
def _trained(lines: tuple[str, ...]) -> tuple[Merges, list[str]]:
    return train(lines or sentences(), 150)


def write(
    path: Path,
    lines: tuple[str, ...] = (),
    languages: tuple[str, str] = ("en", "de"),
    **config: Any,
) -> Path:
    """Two vocabularies in different orders, neither of them with all symbols."""
    write_config(path, "fsmt", langs=languages, tokenizer_class="FSMTTokenizer", **config)
    merges, symbols = _trained(lines)
    for name, part in (("src", symbols[3:]), ("tgt", symbols[-4::-1])):
        tokens = {token: i for i, token in enumerate([*_SPECIAL, *part])}
        write_json(path / f"vocab-{name}.json", tokens)
    (path / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    return path


@pytest.fixture(
    scope="module",
    params=[
        ("en", "de", False),
        ("de", "en", True),
        ("ru", "en", False),
        ("fr", "cs", False),
        ("zh", "fi", False),
    ],
    ids=str,
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    source, target, lower = request.param
    path = tmp_path_factory.mktemp("fsmt")
    return Pair(write(path, languages=(source, target), do_lower_case=lower))


def test_equal_to_transformers(pair: Pair) -> None:
    for text in (*TEXTS, "你好，世界。「x」 Ｑ１２。", "l'été d'un l’ami 5 % e-mail"):
        pair.assert_equal(text)


def test_random_ids(pair: Pair) -> None:
    tokens = len(json.loads((Path(pair.theirs.tgt_vocab_file)).read_text()))
    for start in range(0, tokens, 7):
        pair.assert_decodes_equal([*range(start, min(start + 7, tokens))])


@given(st.lists(st.sampled_from([*"aeinHund .,'\"-&<@1", "</s>", "</w>", "é"]), max_size=12))
@settings(max_examples=100, deadline=None)
def test_random_text_with_special_tokens(pair: Pair, parts: list[str]) -> None:
    pair.assert_equal("".join(parts))


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_random_text(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


def test_corpora(shared_data: Path, tmp_path: Path) -> None:
    lines, training = corpus(shared_data)
    Pair(write(tmp_path, training[::20])).assert_lines_equal(lines[::10])


def test_saved_again(tmp_path: Path) -> None:
    path = write(tmp_path, do_lower_case=True)
    again = tmp_path / "again"
    FSMTTokenizer.from_pretrained(path).save_pretrained(again)
    shutil.copy(path / "config.json", again)
    pair = Pair(again)
    for text in TEXTS:
        pair.assert_equal(text)


def test_merges_with_counts_and_a_version(tmp_path: Path) -> None:
    path = write(tmp_path)
    expected = open_ours(path).encode_ids("der Hund läuft")
    lines = (path / "merges.txt").read_text().splitlines()
    (path / "merges.txt").write_text("".join(f"{line} {7 + i}\n" for i, line in enumerate(lines)))
    assert open_ours(path).encode_ids("der Hund läuft") == expected
    (path / "merges.txt").write_text("#version: 0.1\n" + "\n".join(lines))
    assert open_ours(path).encode_ids("der Hund läuft") == expected


def test_target(tmp_path: Path) -> None:
    """Its own vocabulary and language, which transformers leaves to the source's."""
    ours = open_ours(write(tmp_path, languages=("en", "fr")))
    backwards = open_ours(write(tmp_path / "back", languages=("fr", "en")))
    text = "l'été don't"
    assert ours.encode_target(text) == backwards.encode(text)
    ids = ours.target_ids(ours.encode_target("ein Hund, (a)."))
    assert ours.decode(ids) == "ein Hund, (a)."
    assert ours.decode_tokens(["Hu", "nd</w>", ".</w>"]) == "Hund."
    assert ours.source_ids(["nd</w>"]) != ours.target_ids(["nd</w>"])


def test_languages(tmp_path: Path) -> None:
    ours = open_ours(write(tmp_path))
    assert (ours.source_languages, ours.target_languages) == (("en",), ("de",))
    for source, target in (("en", "de"), ("English", "German"), ("eng", None)):
        languages = {"src_lang": source, "tgt_lang": target}
        assert ours.encode_ids("a dog", **languages) == ours.encode_ids("a dog")
    assert ours.forced_bos_id("de") is ours.decoder_start_id(None) is None
    with pytest.raises(OptionError, match="tgt_lang is 'fr', which this model does not know"):
        ours.encode("a dog", tgt_lang="fr")


def test_languages_in_the_models_config(tmp_path: Path) -> None:
    path = write(tmp_path)
    expected = open_ours(path).encode_ids("a dog's")
    edit_json(path / "tokenizer_config.json", langs=None)
    edit_json(path / "config.json", langs=["en", "de"])
    assert open_ours(path).encode_ids("a dog's") == expected
    edit_json(path / "config.json", langs=["en"])
    with pytest.raises(CheckpointError, match="langs should be a list of two languages"):
        open_ours(path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("vocab-src.json", b"{", "broken JSON"),
        ("vocab-src.json", b'{"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3}', "ids up to 3"),
        ("vocab-tgt.json", b"{}", "lacks the tokens <unk>"),
        ("vocab-tgt.json", b'{"<unk>": -1}', "not a map of tokens to ids"),
        ("merges.txt", b"a b\nc\n", "line 3 is no pair"),
        ("merges.txt", b"\xff", "not UTF-8"),
    ],
)
def test_broken_files(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    path = write(tmp_path)
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        open_ours(path, 3 if message.startswith("ids") else 10_000, 10_000)
    assert file in str(error.value)


def test_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "merges.txt").unlink()
    (path / "vocab-tgt.json").unlink()
    with pytest.raises(CheckpointError, match=r"missing: vocab-tgt\.json, merges\.txt"):
        open_ours(path)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(UnsupportedModelError, match=r"pip install 'pytransformer\[tokenizers\]'"):
        open_ours(path)


def test_words(tmp_path: Path) -> None:
    ours: Any = open_ours(write(tmp_path))
    tokens = ours.source_tokens(ours.encode_ids("der Hund läuft."))
    words = [word.text for word in ours.words(tokens)]
    assert words == ["der", "Hund", "läuft", "."]
    assert not any(map(ours.continues_word, ("und", "Hund</w>", "</s>")))
