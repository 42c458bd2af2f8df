"""Pieces of a unigram model and the map that normalises characters, against `tokenizers`."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from mutations import damaged
from pytransformer.errors import CheckpointError
from pytransformer.loaders.sentencepiece_file import read_sentencepiece
from pytransformer.tokenizers.character_map import CharacterMap
from pytransformer.tokenizers.unigram import Unigram
from t5_tokenizers import write_pieces

LETTERS = "abcé漢 ▁"
PIECES = st.lists(
    st.tuples(
        st.text(LETTERS, min_size=1, max_size=4), st.integers(-40, 0).map(lambda score: score / 8)
    ),
    max_size=25,
    unique_by=lambda item: item[0],
)


@given(PIECES, st.text(LETTERS + "x", max_size=25))
@settings(max_examples=500, deadline=None)
def test_pieces(pieces: list[tuple[str, float]], word: str) -> None:
    """Many scores are the same, so that it matters which of several best sequences is taken."""
    vocabulary = [("<unk>", 0.0), *pieces]
    theirs = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False)).encode(word)
    ours = Unigram([piece for piece, _ in vocabulary], [score for _, score in vocabulary], 0)
    for _ in range(2):  # the second time from memory
        assert list(ours.pieces(word)) == theirs.tokens


def test_the_best_sequence() -> None:
    unigram = Unigram(["?", "a", "b", "ab", "aba"], [0.0, -1.0, -1.0, -1.5, -9.0], 0)
    assert list(unigram.pieces("aba")) == ["ab", "a"]
    assert list(unigram.pieces("xxabxx")) == ["xx", "ab", "xx"]
    assert list(unigram.pieces("")) == []
    assert list(unigram.pieces("?a")) == ["?", "a"]


def test_piece_that_is_too_long() -> None:
    with pytest.raises(CheckpointError, match="piece of 257 characters, more than 256"):
        Unigram(["?", "a" * 257], [0.0, -1.0], 0)


def test_many_words() -> None:
    """More than are kept."""
    unigram = Unigram(["?", *"0123456789"], [0.0, *[-1.0] * 10], 0)
    for number in range(40_000):
        assert "".join(unigram.pieces(str(number))) == str(number)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The map that T5 has: NFKC and a few more rules."""
    path = write_pieces(tmp_path_factory.mktemp("pieces"), normalization_rule_name="nmt_nfkc")
    return read_sentencepiece(path / "spiece.model").character_map


def test_single_characters(content: bytes) -> None:
    ours, theirs = CharacterMap(content), normalizers.Precompiled(content)
    for code in (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200), 0x10FFFF):
        character = chr(code)
        assert ours(character) == theirs.normalize_str(character)


def test_sequences(content: bytes) -> None:
    """Characters with marks, of which the shortest sequence that has a replacement counts."""
    ours, theirs = CharacterMap(content), normalizers.Precompiled(content)
    generator = random.Random(0)
    marks = [chr(code) for code in range(0x300, 0x10000) if is_old_mark(chr(code))]
    bases = [chr(code) for code in (*range(0x20, 0x250), *range(0x370, 0x700), 0xFB01, 0xFF21)]
    special = [
        "\r",
        "\n",
        "\u200d",
        "\u200c",
        "\u0600",
        "\u0e33",
        "\uff9e",
        "\uac00",
        "\u1161",
        "👩",
    ]
    for _ in range(20_000):
        parts = [
            generator.choice(generator.choice((bases, marks, marks, special)))
            for _ in range(generator.randrange(1, 7))
        ]
        text = "".join(parts)
        assert ours(text) == theirs.normalize_str(text)
    assert ours("o\u0302\u0301") == "ô"  # transformers loses the second mark, and so do we


def is_old_mark(character: str) -> bool:
    """Whether a character has been a mark for so long that all know it."""
    old = unicodedata.ucd_3_2_0
    return unicodedata.category(character)[0] == old.category(character)[0] == "M"


def test_damaged_map(content: bytes) -> None:
    """Damage gives our error or some text, even where the trie points out of itself."""
    refused = 0
    for changed in damaged(content, 150, reach=3000):
        try:
            CharacterMap(changed)("Aé\ufb01 e\u0301\u0302 \uff21\u0301 漢字 ½ \x01\u2028")
        except CheckpointError:
            refused += 1
    assert refused > 20
    for short in (b"", b"\0\0", b"\1\0\0\0a", b"\0\0\0\0"):
        with pytest.raises(CheckpointError, match="normalisation"):
            CharacterMap(short)("a")


def test_sentencepiece_file(tmp_path: Path) -> None:
    path = write_pieces(tmp_path, user_defined_symbols="<2de>") / "spiece.model"
    model = read_sentencepiece(path)
    assert model.pieces[:4] == ["<pad>", "</s>", "<unk>", "<2de>"]
    assert "▁" in model.pieces
    assert model.kinds[:4] == [3, 3, 2, 4]
    assert len(model.scores) == len(model.pieces)
    path.write_bytes(b"no model at all")
    with pytest.raises(CheckpointError, match=r"spiece.model: not a sentencepiece model"):
        read_sentencepiece(path)
