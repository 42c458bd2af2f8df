"""What cuts text into tokens, words or BPE codes or sentencepiece, and the lists behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import train_pieces
from pytransformer.errors import CheckpointError, OptionError
from pytransformer.loaders.token_lists import TokenLists, read_cutters, read_token_list
from pytransformer.tokenizers import create
from pytransformer.tokenizers.cutters import MergedPairs, Pieces, Words

PAIRS = [("l", "o"), ("lo", "w</w>"), ("e", "r</w>"), ("n", "e"), ("ne", "w"), ("lo", "w")]
OLD_PAIRS = [("l", "o"), ("lo", "w"), ("e", "r"), ("low", "</w>"), ("er", "</w>"), ("n", "e")]


def codes(pairs: list[tuple[str, str]], head: str = "", tail: str = "") -> bytes:
    return (head + "".join(f"{a} {b}{tail}\n" for a, b in pairs)).encode()


NEW = codes(PAIRS, "#version: 0.2\n")
FAST = codes(PAIRS, tail=" 1234")
OLD = codes(OLD_PAIRS)
FIRST = codes(OLD_PAIRS, "#version: 0.1\n")
# What subword-nmt 0.3.8 makes of these lines.
NEW_LINES = {
    "low lower newer wow  lowlow": "low low@@ er new@@ er w@@ o@@ w low@@ low",
    "er  l": "er l",
    "lolololow": "lo@@ lo@@ lo@@ low",
    "": "",
}
OLD_LINES = {**NEW_LINES, "low lower newer": "low low@@ er ne@@ w@@ er"}
del OLD_LINES["low lower newer wow  lowlow"]


@pytest.mark.parametrize(
    ("content", "lines"),
    [(NEW, NEW_LINES), (FAST, NEW_LINES), (OLD, OLD_LINES), (FIRST, OLD_LINES)],
)
def test_merged_pairs(content: bytes, lines: dict[str, str]) -> None:
    cutter = MergedPairs(content)
    for line, tokens in lines.items():
        assert " ".join(cutter.cut(line)) == tokens
        assert cutter.join(tokens.split()) == " ".join(line.split())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"#version: 0.2\na b\nc\n", "line 3 is no pair"),
        (b"a b\nc d e\n", "line 2 is no pair"),
        (b"a b 1\nc d\n", "line 2 is no pair"),
        (b"a  b\n", "line 1 is no pair"),
        (b"a \xff\n", "byte 2 is not UTF-8"),
    ],
)
def test_broken_codes(content: bytes, fault: str) -> None:
    with pytest.raises(CheckpointError, match=fault):
        MergedPairs(content)


def test_codes_that_come_twice() -> None:
    """The first place counts."""
    twice = MergedPairs(b"#version: 0.2\nb c</w>\na b\na b</w>\na b\nb c</w>\n")
    assert twice.cut("abc ab") == ["a@@", "bc", "ab"]


def test_long_word() -> None:
    assert MergedPairs(NEW).cut("lo" * 5000 + "w")[-2:] == ["lo@@", "low"]


@given(st.text(st.sampled_from("lowern </w>@ \u00a0\u2028ß"), max_size=30))
def test_text_comes_back(text: str) -> None:
    """Of words that hold no mark of the encoding."""
    for content in (NEW, OLD, FAST):
        cutter = MergedPairs(content)
        tokens = cutter.cut(text)
        assert all(token and not token.isspace() for token in tokens)
        if "@" not in text and "<" not in text:
            assert cutter.join(tokens).replace(" ", "") == "".join(text.split())


def test_words_and_pieces() -> None:
    assert Words().cut(" a  b\tc ") == ["a", "b", "c"]
    assert Words().join(["a", "b"]) == "a b"
    pieces = Pieces(train_pieces("de"))
    assert pieces.join(pieces.cut("ein Hund")) == "ein Hund"
    with pytest.raises(CheckpointError, match="not a sentencepiece model"):
        Pieces(b"nothing")


LISTS: dict[str, Any] = {
    "source": ["<unk>", "</s>", "low", "lo@@", "er"],
    "target": ["<unk>", "<s>", "</s>", "low", "low@@", "er"],
    "unknown": "<unk>",
    "begin": "<s>",
    "end": "</s>",
    "start": "</s>",
    "ends_source": True,
}


def test_lists_with_codes() -> None:
    spec, files = TokenLists(**LISTS).tokenizer(Path("x"), {"source.bpe": OLD, "target.bpe": OLD})
    assert json.loads(files["source_vocabulary.json"]) == LISTS["source"]
    tokenizer = create(spec, files)
    assert tokenizer.encode("low lolow") == ["low", "lo@@", "low"]
    assert tokenizer.encode_ids("low lolow new") == [2, 3, 2, 0, 0, 1]
    assert tokenizer.encode_target("lower") == ["low@@", "er"]
    assert tokenizer.target_ids(["low@@", "er", "x"]) == [4, 5, 0]
    assert tokenizer.decode([2, 4, 5, 0, 1]) == "lower <unk>"
    assert tokenizer.unknown_id == 0
    with pytest.raises(OptionError, match="no token has the id 6"):
        tokenizer.decode([6])


def test_lists_without_codes() -> None:
    spec, files = TokenLists(**{**LISTS, "ends_source": False}).tokenizer(Path("x"), {})
    tokenizer = create(spec, files)
    assert tokenizer.encode_ids("low  er") == [2, 4]
    assert tokenizer.encode_ids("") == []
    assert tokenizer.decode([3, 5]) == "low er"


def test_lists_without_an_unknown_token() -> None:
    for side in ("source", "target"):
        lists = TokenLists(**{**LISTS, side: ["a", "</s>", "<s>"]})
        with pytest.raises(CheckpointError, match=f"x: the {side} vocabulary has no '<unk>'"):
            lists.tokenizer(Path("x"), {})


def test_files_beside_a_checkpoint(tmp_path: Path) -> None:
    assert read_cutters(tmp_path) == {}
    (tmp_path / "bpecodes").write_bytes(b"1")
    assert read_cutters(tmp_path) == {"source.bpe": b"1", "target.bpe": b"1"}
    (tmp_path / "target.bpe").write_bytes(b"2")
    assert read_cutters(tmp_path) == {"source.bpe": b"1", "target.bpe": b"2"}
    (tmp_path / "own.model").write_bytes(b"3")
    assert read_cutters(tmp_path, {"source.spm": "own.model"})["source.spm"] == b"3"
    (tmp_path / "sentencepiece.model").write_bytes(b"4")
    assert read_cutters(tmp_path) == {"source.spm": b"4", "target.spm": b"4"}


@pytest.mark.parametrize(
    ("name", "content", "tokens"),
    [
        ("x.txt", b"a\nb c\n", ["a", "b c"]),
        ("x.txt", "a\r\n\u2028\r\n\r\nb".encode(), ["a", "\u2028", "", "b"]),
        ("x.json", b'["a", "\\u00e4"]', ["a", "ä"]),
    ],
)
def test_token_list(tmp_path: Path, name: str, content: bytes, tokens: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_token_list(tmp_path / name) == tokens


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("x.txt", b"a\n\xff\n", "byte 2 is not UTF-8 text"),
        ("x.json", b'{"a": 1}', "the file is not a list of tokens"),
        ("x.json", b"[1, 2]", "the file is not a list of tokens"),
        ("x.json", b'["a", "\\ud800"]', "a token that is not valid Unicode"),
        ("x.json", b"[" * 100_000, "broken JSON"),
    ],
)
def test_broken_token_list(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x\..*: .*{fault}"):
        read_token_list(tmp_path / name)
