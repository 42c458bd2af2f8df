"""The tokenizers of M2M100 and SMaLL-100 against transformers' M2M100Tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.loaders.huggingface_languages import M2M100
from tokenizer_pairs import (
    TEXTS,
    Pair,
    corpus,
    edit_json,
    open_ours,
    train,
    write_config,
    write_json,
)

CODES = M2M100["m2m100"]
TOKENS = [f"__{code}__" for code in CODES]


def write(path: Path, lines: tuple[str, ...] = (), **config: Any) -> Path:
    """A directory whose vocabulary has another order than the pieces, and not all of them."""
    config = {"tokenizer_class": "M2M100Tokenizer", "additional_special_tokens": TOKENS, **config}
    write_config(path, "m2m_100", **config)
    model = train("bpe", lines, 3000 if lines else 320)
    (path / "sentencepiece.bpe.model").write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size() - 10)]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *reversed(pieces)]
    write_json(path / "vocab.json", {token: i for i, token in enumerate(tokens)})
    return path


@pytest.fixture(scope="module", params=["written", "saved again", "older"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    path = write(tmp_path_factory.mktemp("m2m100"))
    if request.param == "saved again":
        again = path / "again"
        AutoTokenizer.from_pretrained(path).save_pretrained(again)
        shutil.copy(path / "config.json", again)
        path = again
    elif request.param == "older":
        names = {"additional_special_tokens": TOKENS, "eos_token": {"content": "</s>"}}
        write_json(path / "special_tokens_map.json", names)
        write_config(path, "m2m_100", language_codes="m2m100")
    return Pair(path)


def test_equal_to_transformers(pair: Pair) -> None:
    for text in TEXTS:
        pair.assert_equal(text)
    pair.assert_random_ids_decode_equal()


@given(st.lists(st.sampled_from([*"aeinHund _<>", "</s>", "__de__", "▁", "½"]), max_size=12))
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


def test_languages(tmp_path: Path) -> None:
    pair = Pair(write(tmp_path))
    for code in CODES:
        pair.assert_equal("ein Hund", code)
        assert pair.ours.forced_bos_id(code) == pair.theirs.get_lang_id(code)
    assert pair.ours.source_languages == pair.ours.target_languages == CODES
    for language in ("__de__", "deu", "German", "DE"):
        assert pair.ours.forced_bos_id(language) == pair.theirs.get_lang_id("de")
        assert pair.ours.encode("Hund", src_lang=language)[0] == "__de__"
    assert pair.ours.decoder_start_id("de") is None
    with pytest.raises(OptionError, match="tgt_lang is missing"):
        pair.ours.forced_bos_id(None)
    with pytest.raises(OptionError, match="'Klingon', which this model does not know"):
        pair.ours.encode("Hund", src_lang="Klingon")


def test_languages_that_nothing_lists(tmp_path: Path) -> None:
    """As in transformers they are then not found in texts; in translations they are left out."""
    path = write(tmp_path, additional_special_tokens=[])
    pair = Pair(path)
    for text in TEXTS:
        ids = pair.theirs(text).input_ids
        assert pair.ours.encode_ids(text) == ids
        assert pair.ours.decode(ids) == pair.ours.decode(ids[1:])
    assert pair.ours.forced_bos_id("de") == pair.theirs.get_lang_id("de")


def test_other_set_of_languages(tmp_path: Path) -> None:
    codes = M2M100["wmt21"]
    tokens = [f"__{code}__" for code in codes]
    pair = Pair(write(tmp_path, language_codes="wmt21", additional_special_tokens=tokens))
    for text in TEXTS:
        pair.assert_equal(text, "cs")
    assert pair.ours.target_languages == codes


@pytest.mark.parametrize("by_file", [False, True])
def test_small100(tmp_path: Path, by_file: bool) -> None:
    """The target's language stands where M2M100 has the source's; nothing is forced."""
    theirs: Any = AutoTokenizer.from_pretrained(write(tmp_path))
    if by_file:
        (tmp_path / "tokenization_small100.py").write_text("# never run")
    else:
        edit_json(tmp_path / "tokenizer_config.json", tokenizer_class="SMALL100Tokenizer")
    ours = open_ours(tmp_path)
    theirs.src_lang = "de"
    for text in TEXTS:
        assert ours.encode_ids(text, src_lang="en", tgt_lang="German") == theirs(text).input_ids
    assert ours.forced_bos_id("de") is ours.decoder_start_id("de") is None
    with pytest.raises(OptionError, match="tgt_lang is missing"):
        ours.encode("Hund")
    with pytest.raises(OptionError, match="src_lang is 'xx'"):
        ours.encode("Hund", src_lang="xx", tgt_lang="de")


def test_added_tokens(tmp_path: Path) -> None:
    path = write(tmp_path)
    theirs: Any = AutoTokenizer.from_pretrained(path)
    ids = {token: theirs.convert_tokens_to_ids(token) for token in TOKENS}
    size = len(theirs)
    write_json(path / "added_tokens.json", {**ids, "<name>": size, "Straße": size + 1})
    pair = Pair(path)
    for text in ("ein <name> Hund", "Straßen Straße", "<name>"):
        pair.assert_equal(text)


def test_clean_up(tmp_path: Path) -> None:
    pair = Pair(write(tmp_path, clean_up_tokenization_spaces=True))
    pair.assert_equal("ein Hund , und . don ' t")


def test_embeddings(tmp_path: Path) -> None:
    """More of them than tokens, or too few for the languages, or for the vocabulary."""
    path = write(tmp_path)
    size = len(json.loads((path / "vocab.json").read_text()))
    ours = open_ours(path, size + len(CODES) + 8)
    assert ours.target_tokens([size + len(CODES) + 7]) == [f"<unused_{size + len(CODES) + 7}>"]
    assert ours.decode([size + len(CODES) + 7]) == ""
    assert open_ours(path, size + 20).target_languages == CODES[:20]
    with pytest.raises(CheckpointError, match="no token of a language"):
        open_ours(path, size)
    with pytest.raises(CheckpointError, match=f"ids up to .* {size - 1} embeddings"):
        open_ours(path, size - 1)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("sentencepiece.bpe.model", b"\x0a\x05broken", "not a sentencepiece model"),
        ("vocab.json", b"{", "broken JSON"),
        ("vocab.json", b"[]", "not a JSON object"),
        ("vocab.json", b"{}", "lacks the tokens <unk>, </s>"),
        ("vocab.json", b'{"<unk>": 1, "</s>": "x"}', "not a map of tokens to ids"),
        ("vocab.json", b'{"<unk>": 1, "</s>": 1}', "two tokens have the same id"),
        ("tokenizer_config.json", b'{"language_codes": "x"}', "m2m100 or wmt21"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {}}}', "a map of ids"),
    ],
)
def test_broken_files(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    path = write(tmp_path)
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        open_ours(path)
    assert file in str(error.value)


def test_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "sentencepiece.bpe.model").unlink()
    with pytest.raises(CheckpointError, match=r"files are missing: sentencepiece\.bpe\.model"):
        open_ours(path)


def test_words(tmp_path: Path) -> None:
    ours: Any = open_ours(write(tmp_path))
    tokens = ours.encode("der Hund, ein Baum.")
    words = [word.text for word in ours.words(tokens)]
    assert words == ["der", "Hund,", "ein", "Baum."]
    assert ours.continues_word("und")
    assert not any(map(ours.continues_word, ("▁Hund", ",", "</s>", "__de__")))
