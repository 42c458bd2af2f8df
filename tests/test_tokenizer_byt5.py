"""The tokenizer of ByT5 against transformers'."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from pytransformer import tokenizers
from pytransformer.errors import CheckpointError, OptionError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer
from pytransformer.model_spec import TokenizerSpec
from t5_tokenizers import Pair, read_lines, write_json
from test_tokenizer_marian import TEXTS as MARIAN_TEXTS

TEXTS = [
    *MARIAN_TEXTS,
    "<extra_id_0>",
    "ein <extra_id_1> Hund<extra_id_124>.",
    "<extra_id_125> <extra_id_1",
    "a \x1c</s>\x1f b",
    "\x85 <pad> \u3000 b",
    "漢字 👩",
]
EXTRA = [f"<extra_id_{i}>" for i in range(125)]


def flags(content: str, **changes: bool) -> dict[str, Any]:
    usual = {"lstrip": False, "rstrip": False, "normalized": True}
    return {"content": content, "single_word": False, **usual, **changes}


SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
LISTED = {
    "0": flags("<pad>", lstrip=True, rstrip=True, special=True),
    "1": flags("</s>", rstrip=True, special=True),
    "2": flags("<unk>", lstrip=True, special=True),
    **{str(259 + i): flags(token, special=True) for i, token in enumerate(EXTRA)},
    "384": flags("<sep>", lstrip=True, rstrip=True, special=False),
}
# The files of a directory, by their names.
DIRECTORIES: dict[str, dict[str, Any]] = {
    "bare": {},
    "byt5-small": {
        "tokenizer_config": {
            **{key: flags(content) for key, content in SPECIAL.items()},
            "additional_special_tokens": EXTRA,
            "extra_ids": 125,
            "tokenizer_class": "ByT5Tokenizer",
        },
        "special_tokens_map": {
            **{key: flags(content) for key, content in SPECIAL.items()},
            "additional_special_tokens": EXTRA,
        },
    },
    "names": {
        "tokenizer_config": {"eos_token": "</s>", "extra_ids": 125},
        "special_tokens_map": {"eos_token": "</s>", "additional_special_tokens": EXTRA},
    },
    "listed": {
        "tokenizer_config": {
            "added_tokens_decoder": LISTED,
            "additional_special_tokens": EXTRA,
            "extra_ids": 0,
            "clean_up_tokenization_spaces": True,
        }
    },
}


@pytest.fixture(scope="module", params=[*DIRECTORIES, "saved"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    path = tmp_path_factory.mktemp("byt5")
    if request.param == "saved":
        ByT5Tokenizer().save_pretrained(path)
    for name, content in DIRECTORIES.get(request.param, {}).items():
        write_json(path, name, content)
    return Pair(path, ByT5Tokenizer.from_pretrained, tokenizer_class="ByT5Tokenizer")


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """transformers warns of texts that end with the end token."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:30])
def test_equal_to_transformers(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


ALPHABET = [*"aeH .<>/s\x1c", "</s>", "<unk>", "<pad>", "<extra_id_7>", "<sep>", "é", "漢", "👩"]


@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join))
@settings(max_examples=200, deadline=None)
def test_random_text_with_special_tokens(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_random_text(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


def test_random_ids(pair: Pair) -> None:
    """Bytes that are no UTF-8 are left out."""
    pair.assert_decodes_random_ids()


def test_tokens(pair: Pair) -> None:
    ours = pair.ours
    tokens = ours.encode("é<pad>")
    assert tokens == ["\xc3", "\xa9", "<pad>"]
    assert ours.source_ids(tokens) == [0xC3 + 3, 0xA9 + 3, 0, 1]
    assert ours.source_ids([*tokens, "</s>"]) == ours.source_ids(tokens)
    assert ours.target_ids(["no such token", "é"]) == [2, 0xE9 + 3]
    assert ours.decode_tokens([*"a<pad>"[:1], "\xc3", "\xa9", "word", "漢"]) == "aéword漢"
    assert ours.encode_target("a") == ["a"]
    assert ours.unknown_id == 2


def test_more_embeddings_than_tokens(tmp_path: Path) -> None:
    options = Settings({"tokenizer_class": "ByT5Tokenizer"}, tmp_path / "config.json")
    ours = tokenizers.create(*read_tokenizer(tmp_path, options, 400))
    assert ours.target_tokens([399]) == ["<unused_399>"]
    assert ours.decode([100, 399, 101]) == "ab"
    for token_id in (-1, 400):
        with pytest.raises(OptionError, match=str(token_id)):
            ours.decode([token_id])
    with pytest.raises(CheckpointError, match=r"259 tokens.* 258 embeddings"):
        read_tokenizer(tmp_path, options, 258)


def test_languages(tmp_path: Path) -> None:
    tasks = {"translation_en_to_de": {"prefix": "to German: "}}
    config = {"tokenizer_class": "ByT5Tokenizer", "task_specific_params": tasks}
    options = Settings(config, tmp_path / "config.json")
    ours = tokenizers.create(*read_tokenizer(tmp_path, options, 384))
    assert ours.encode_ids("a", tgt_lang="de") == ours.encode_ids("to German: a")
    with pytest.raises(OptionError, match="'fr'"):
        ours.encode("a", tgt_lang="fr")


@pytest.mark.parametrize("text", [None, b"Hund", 3])
def test_text_that_is_no_str(pair: Pair, text: Any) -> None:
    with pytest.raises(TypeError, match=type(text).__name__):
        pair.ours.encode(text)


def test_lone_surrogate(pair: Pair) -> None:
    with pytest.raises(OptionError, match=r"U\+D83D"):
        pair.ours.encode("Hund \ud83d")


@pytest.mark.parametrize(
    "change", [{"added_tokens": None}, {"eos_token": "<x>"}, {"eos_token": []}]
)
def test_broken_settings(change: dict[str, Any], tmp_path: Path) -> None:
    options = Settings({"tokenizer_class": "ByT5Tokenizer"}, tmp_path / "config.json")
    spec, files = read_tokenizer(tmp_path, options, 384)
    with pytest.raises(CheckpointError, match="settings"):
        tokenizers.create(TokenizerSpec("byt5", {**spec.settings, **change}), files)


@pytest.mark.parametrize("language", ["de", "en"])
def test_corpora(shared_data: Path, tmp_path: Path, language: str) -> None:
    pair = Pair(tmp_path, ByT5Tokenizer.from_pretrained, tokenizer_class="ByT5Tokenizer")
    for line in read_lines(shared_data / "newstest" / f"newstest2014.{language}.gz")[::5]:
        pair.assert_equal(line)
