"""BERT's tokenizer against that of transformers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pytransformer import OptionError
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.tokenizers.wordpiece import WordPieceTokenizer
from tokenizer_pairs import TEXTS, Pair, corpus, edit_json, open_ours, sentences, write_config

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "cased": {"do_lower_case": False},
    "cased-without-accents": {"do_lower_case": False, "strip_accents": True},
    "lower-with-accents": {"strip_accents": False},
    "chinese-in-words": {"tokenize_chinese_chars": False},
    "cleaned": {"clean_up_tokenization_spaces": True},
}
MORE_TEXTS = [
    "[CLS] a [MASK] dog[SEP][MASK]ed [mask] [UNK]",
    "犬が雪の中を走る。 x犬y 𠀀",
    "ΑΣ ὈΔΥΣΣΕΎΣ İstanbul ǅ ﬁ ß ẞ",
    "naïve café re\u0301sume\u0301 Ångström",
    "a" * 100 + " " + "a" * 101,
    "semi-colon;comma,dot.$5+5=10^2`~|<>",
]


def write(path: Path, lines: tuple[str, ...] = (), **config: Any) -> Path:
    """A directory with a vocabulary that was trained on some lines."""
    tokenizer = library.BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    size = 2000 if lines else 300
    tokenizer.train_from_iterator(
        lines or sentences(), size, min_frequency=1, special_tokens=SPECIAL, show_progress=False
    )
    write_config(path, "bert", **config)
    tokenizer.save_model(str(path))
    return path


@pytest.fixture(scope="module", params=OPTIONS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(write(tmp_path_factory.mktemp("bert"), **OPTIONS[request.param]))


def test_equal_to_transformers(pair: Pair) -> None:
    for text in [*TEXTS, *MORE_TEXTS]:
        pair.assert_equal(text)
    pair.assert_random_ids_decode_equal()


def test_real_text(shared_data: Path, tmp_path: Path) -> None:
    lines, training = corpus(shared_data)
    Pair(write(tmp_path, training)).assert_lines_equal(lines)


@given(text=st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]), max_size=40))
@settings(deadline=None, max_examples=100)
def test_random_texts(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


def test_tokenizer_json(tmp_path: Path) -> None:
    """As transformers saves it again, without vocab.txt."""
    path = write(tmp_path / "first", do_lower_case=False)
    again = tmp_path / "again"
    AutoTokenizer.from_pretrained(path).save_pretrained(again)
    (again / "config.json").write_bytes((path / "config.json").read_bytes())
    assert not (again / "vocab.txt").exists()
    pair = Pair(again)
    for text in [*TEXTS, *MORE_TEXTS]:
        pair.assert_equal(text)


def test_added_tokens(tmp_path: Path) -> None:
    """Those that are told of get ids, and are cut out as they say."""
    path = write(tmp_path)
    size = len((path / "vocab.txt").read_text(encoding="utf-8").splitlines())
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    tokens = {
        size: {**flags, "content": "[NAME]", "special": True, "normalized": False},
        size + 1: {**flags, "content": "ÄRZTE", "special": False, "normalized": True},
        size + 2: {**flags, "content": "<x>", "special": True, "normalized": False, "lstrip": True},
    }
    edit_json(path / "tokenizer_config.json", added_tokens_decoder=tokens)
    pair = Pair(path)
    for text in ["[NAME] runs", "a[NAME]b [name]", "a  <x>  b"]:
        pair.assert_equal(text)
    # transformers decodes this one as it is normalised.
    text = "die Ärzte arzte ÄRZTEn"
    assert pair.ours.encode_ids(text) == pair.theirs(text).input_ids


def test_tokens_without_an_embedding_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, mask_token="[NEW]")
    size = len((path / "vocab.txt").read_text(encoding="utf-8").splitlines())
    ours = open_ours(path, size)
    assert max(ours.encode_ids("a [NEW] dog")) < size
    assert open_ours(path, size + 1).target_ids(["[NEW]"]) == [size]


def test_pairs_are_shortened_as_by_transformers(pair: Pair) -> None:
    generator = random.Random(0)
    assert isinstance(pair.ours, WordPieceTokenizer)
    for _ in range(300):
        first, second = ("dog " * generator.randrange(12) for _ in range(2))
        most = generator.randrange(3, 30)
        expected = pair.theirs([first], [second], truncation="longest_first", max_length=most)
        found = pair.ours.encode_pair(first, second, most)
        assert found == (expected.input_ids[0], expected.token_type_ids[0])


def test_words_of_which_tokens_are_parts(pair: Pair) -> None:
    ours = pair.ours
    assert isinstance(ours, WordPieceTokenizer)
    words = ours.words(["[CLS]", "a", "do", "##g", ".", "[SEP]"])
    assert [word.pieces for word in words] == [
        slice(1, 2),
        slice(2, 4),
        slice(4, 5),
    ]
    assert ours.continues_word("##g")
    assert not ours.continues_word("do")
    assert ours.unknown_id == 1


def test_impossible_arguments(pair: Pair) -> None:
    with pytest.raises(OptionError, match=r"language|src_lang"):
        pair.ours.encode_ids("a", src_lang="de")
    with pytest.raises(TypeError):
        pair.ours.encode(5)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="U\\+D800"):
        pair.ours.encode("\ud800")
    with pytest.raises(OptionError, match="no token has the id 10000"):
        pair.ours.target_tokens([10_000])


def test_broken_directories(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(CheckpointError, match=r"vocab.txt: has \d+ pieces, but there are 50"):
        open_ours(path, 50)
    (path / "vocab.txt").write_bytes(b"[UNK]\n\xff\n")
    with pytest.raises(CheckpointError, match=r"vocab.txt: byte 6 is not UTF-8"):
        open_ours(path)
    (path / "vocab.txt").write_text("[UNK]\n[SEP]\na\n")
    with pytest.raises(CheckpointError, match=r"vocab.txt: lacks the token '\[CLS\]'"):
        open_ours(path, 3)
    (path / "vocab.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"vocab.txt: the vocabulary is empty"):
        open_ours(path)
    (path / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match=r"missing: vocab.txt or tokenizer.json"):
        open_ours(path)


def test_tokenizers_of_other_classes(tmp_path: Path) -> None:
    path = write(tmp_path, tokenizer_class="BertJapaneseTokenizer")
    with pytest.raises(UnsupportedModelError, match="BertJapaneseTokenizer"):
        open_ours(path)
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": 3}))
    with pytest.raises(CheckpointError, match="do_lower_case should be true or false"):
        open_ours(path)
