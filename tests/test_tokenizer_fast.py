"""The tokenizers of NLLB, mBART, mBART-50 and Pegasus against those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fast_tokenizers import FAMILIES, LANGUAGES, save_again, write
from pytransformer.errors import (
    CheckpointError,
    OptionError,
)
from tokenizer_pairs import (
    TEXTS,
    Pair,
    corpus,
    edit_json,
    open_ours,
    write_json,
)


@pytest.fixture(scope="module", params=[(name, json) for name in FAMILIES for json in (0, 1)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name, from_json = request.param
    path = write(tmp_path_factory.mktemp(name), name)
    return Pair(save_again(path, path / "again") if from_json else path)


def test_equal_to_transformers(pair: Pair) -> None:
    for text in TEXTS:
        pair.assert_equal(text)


def test_random_ids(pair: Pair) -> None:
    pair.assert_random_ids_decode_equal()


ALPHABET = [
    *"aeinHund läß.<>/s_",
    "</s>",
    "<unk>",
    "<mask>",
    "de_DE",
    "eng_Latn",
    "<unk_2>",
    "▁",
    "\x00",
    "\u00a0",
    "é",
    "e\u0301",
    "½",
    "\n",
]


@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join))
@settings(max_examples=150, deadline=None)
def test_random_text_with_special_tokens(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_random_text(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


@given(st.text("ax.-", max_size=60))
@settings(max_examples=150, deadline=None)
def test_repetitions(pair: Pair, text: str) -> None:
    """Many ways to cut them are equally good."""
    pair.assert_equal(text)


@pytest.mark.parametrize("name", FAMILIES)
def test_corpora(shared_data: Path, tmp_path: Path, name: str) -> None:
    lines, training = corpus(shared_data)
    Pair(write(tmp_path, name, training)).assert_lines_equal(lines)


@pytest.mark.parametrize("name", ["nllb", "mbart", "mbart50"])
def test_source_language(tmp_path: Path, name: str) -> None:
    pair = Pair(write(tmp_path, name))
    for code in LANGUAGES[name]:
        pair.assert_equal("ein Hund", code)
    first = LANGUAGES[name][0]
    assert pair.ours.encode_ids("Hund", src_lang=first) != pair.ours.encode_ids("Hund")
    assert pair.ours.source_languages == pair.ours.target_languages == LANGUAGES[name]


def test_nllb_legacy_behaviour(tmp_path: Path) -> None:
    pair = Pair(write(tmp_path, "nllb", legacy_behaviour=True))
    for text in ("ein Hund", ""):
        pair.assert_equal(text, "deu_Latn")
    german = pair.ours.encode("Hund", src_lang="German")
    assert german[-2:] == ["</s>", "deu_Latn"]
    assert pair.ours.source_ids(german) == pair.ours.encode_ids("Hund", src_lang="German")


def test_languages_behind_the_end(tmp_path: Path) -> None:
    """Tokens that lack what closes a source get it; those of another language keep theirs."""
    ours = open_ours(write(tmp_path, "mbart", src_lang="de_DE"))
    german = ours.encode_ids("Hund")
    assert ours.source_tokens(german)[-2:] == ["</s>", "de_DE"]
    assert ours.source_ids(ours.source_tokens(german)[:-2]) == german
    french = ours.encode("Hund", src_lang="fr")
    assert french[-2:] == ["</s>", "fr_XX"]
    assert ours.source_ids(french) == ours.encode_ids("Hund", src_lang="fr_XX")
    assert ours.source_tokens(ours.source_ids([])) == ["</s>", "de_DE"]


@pytest.mark.parametrize("name", ["nllb", "mbart", "mbart50"])
def test_target_language(tmp_path: Path, name: str) -> None:
    pair = Pair(write(tmp_path, name))
    ours, code = pair.ours, {"nllb": "deu_Latn"}.get(name, "de_DE")
    token_id = pair.theirs.convert_tokens_to_ids(code)
    starts = name == "mbart"
    for language in (code, code.upper(), "de", "deu", "German", "GERMAN", " german "):
        assert ours.decoder_start_id(language) == (token_id if starts else None)
        assert ours.forced_bos_id(language) == (None if starts else token_id)
    needed = ours.decoder_start_id if starts else ours.forced_bos_id
    with pytest.raises(OptionError, match=r"tgt_lang is missing.* ISO code or in English"):
        needed(None)
    with pytest.raises(OptionError, match="tgt_lang is 'Klingon', which this model does not know"):
        needed("Klingon")
    with pytest.raises(OptionError, match="src_lang is 'xx'"):
        ours.encode("Hund", src_lang="xx")
    assert ours.encode("Hund", tgt_lang=code) == ours.encode("Hund")
    with pytest.raises(OptionError, match="tgt_lang is 'xx'"):
        ours.encode_ids("Hund", tgt_lang="xx")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("nllb", {"forced_bos_token_id": 5}),
        ("mbart50", {"forced_bos_token_id": 5}),
        ("mbart", {"decoder_start_token_id": 5}),
    ],
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_target_language_of_the_checkpoint(
    tmp_path: Path, name: str, change: dict[str, int], file: str
) -> None:
    """Generation's settings name it: the tokenizer has nothing to add."""
    write(tmp_path, name)
    if not (tmp_path / file).exists():
        write_json(tmp_path / file, {})
    edit_json(tmp_path / file, **change)
    ours = open_ours(tmp_path)
    assert ours.forced_bos_id(None) is ours.decoder_start_id(None) is None
    assert (ours.forced_bos_id("de"), ours.decoder_start_id("de")) != (None, None)


def test_default_languages(tmp_path: Path) -> None:
    path = write(tmp_path, "mbart50", src_lang="de_DE", tgt_lang="fr_XX")
    pair = Pair(path)
    pair.assert_equal("Hund")
    assert pair.ours.forced_bos_id(None) == pair.ours.forced_bos_id("French")
    edit_json(path / "tokenizer_config.json", tgt_lang="xx_XX")
    with pytest.raises(CheckpointError, match="tgt_lang is 'xx_XX'"):
        open_ours(path)


@pytest.mark.parametrize("name", FAMILIES)
def test_clean_up(tmp_path: Path, name: str) -> None:
    pair = Pair(write(tmp_path, name, clean_up_tokenization_spaces=True))
    for text in ("ein Hund , und . don ' t", "it 's ?"):
        pair.assert_equal(text)


def test_map_of_characters(tmp_path: Path) -> None:
    """mBART's tokenizer leaves it out."""
    nllb = open_ours(write(tmp_path / "nllb", "nllb"))
    assert nllb.encode_ids("ＡＢＣ ½") == nllb.encode_ids("ABC 1⁄2")
    mbart = open_ours(write(tmp_path / "mbart", "mbart"))
    assert mbart.encode_ids("ＡＢＣ") != mbart.encode_ids("ABC")


def test_words(tmp_path: Path) -> None:
    for name in FAMILIES:
        ours: Any = open_ours(write(tmp_path / name, name))
        tokens = ours.source_tokens(ours.encode_ids("der Hund, ein Baum."))
        words = [word.text for word in ours.words(tokens)]
        assert words == ["der", "Hund,", "ein", "Baum."]
        assert ours.words([]) == ours.words(["</s>"]) == []
        assert ours.continues_word("und")
        assert not any(
            map(ours.continues_word, ("▁Hund", "▁", ",", "</s>", *ours.source_languages))
        )
