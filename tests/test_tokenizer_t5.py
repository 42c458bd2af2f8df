"""The tokenizers of T5, mT5, umT5 and MADLAD-400 against transformers'."""

from __future__ import annotations

import copy
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast, T5Tokenizer

from pytransformer.errors import OptionError
from t5_tokenizers import Pair, read_lines, save_again, write_json, write_pieces
from test_tokenizer_marian import TEXTS as MARIAN_TEXTS

TEXTS = [
    *MARIAN_TEXTS,
    "<extra_id_0>",
    "ein <extra_id_1> Hund<extra_id_99>.",
    "  <extra_id_0>  x",
    "<extra_id_100> <extra_id_-1> <extra_id_1",
    "o\u0302\u0301x \uff21\u0301 \ufb01\u0323",  # marks behind what is replaced
    "\x85 a\u1680b\u3000c\u2003d\u202fe",
    "\x1c a \x1d\x1eb\x1f",
    "a\r\nb \r\n c",
    "▁▁ a▁▁b ▁",
    "<2de> Hund <2en>a",
    "-------- ===== ........ !!!!",
    "نص عربي \u0600\u0661\u0662 \ufefb\u064e",
    "ﾊﾟ 한국어 각 \u1100\u1161\u11a8 ไทย\u0e33",
    "１２３ ①② ㎏ ℃ ™ ﬃ",
]
EXTRA = [f"<extra_id_{i}>" for i in range(100)]


def flags(content: str, **changes: bool) -> dict[str, Any]:
    usual = {"lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": content, "single_word": False, **usual, **changes}


def listed(size: int, **changes: bool) -> dict[str, Any]:
    """T5's special tokens as transformers 4 writes them, for so many pieces."""
    special = {str(i): flags(content) for i, content in enumerate(("<pad>", "</s>", "<unk>"))}
    return special | {str(size + 99 - i): flags(EXTRA[i], **changes) for i in range(100)}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but spiece.model."""
    return write_pieces(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="module")
def saved(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as transformers saves it: tokenizer.json and tokenizer_config.json."""
    return save_again(pieces, tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module", params=["spiece.model", "tokenizer.json"])
def pair(request: pytest.FixtureRequest, pieces: Path, saved: Path) -> Pair:
    path = pieces if request.param == "spiece.model" else saved
    return Pair(path, T5Tokenizer.from_pretrained)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:30])
def test_equal_to_transformers(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


ALPHABET = [
    *"aeinHund läß.<>/s-", "</s>", "<unk>", "<pad>", "<extra_id_7>", "▁", "\x00", "\u00a0", "é",
    "\u0301", "\u0302", "ﬁ", "\t", "  ", "Ａ", "漢", "\u200d", "\r\n",
]  # fmt: skip
SENTENCES = st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join)


@given(SENTENCES)
@settings(max_examples=400, deadline=None)
def test_random_text_with_special_tokens(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_random_text(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


def test_random_ids(pair: Pair) -> None:
    pair.assert_decodes_random_ids()


# By the files that are there besides: what they hold, and whether spiece.model or tokenizer.json.
DIRECTORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "t5-small": ("json", {"tokenizer_config": {"model_max_length": 512}}),
    "flan-t5": (
        "json",
        {
            "tokenizer_config": {
                "additional_special_tokens": EXTRA,
                "eos_token": "</s>",
                "extra_ids": 100,
                "pad_token": "<pad>",
                "sp_model_kwargs": {},
                "tokenizer_class": "T5Tokenizer",
                "unk_token": "<unk>",
            },
            "special_tokens_map": {
                "additional_special_tokens": EXTRA,
                "eos_token": "</s>",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
            },
        },
    ),
    "mt5": (
        "model",
        {
            "tokenizer_config": {
                "additional_special_tokens": None,
                "eos_token": "</s>",
                "extra_ids": 0,
                "pad_token": "<pad>",
                "tokenizer_class": "T5Tokenizer",
                "unk_token": "<unk>",
            },
            "special_tokens_map": {"eos_token": "</s>", "pad_token": "<pad>"},
        },
    ),
    "stripping": ("json", {"tokenizer_config": {"stripping": True}}),
    "stripping-model": ("model", {"tokenizer_config": {"stripping": True}}),
    "added-later": (
        "json",
        {
            "tokenizer_config": {
                "more": [
                    flags("Hund", lstrip=True, normalized=True, special=False),
                    flags("ＡＢ", normalized=True, special=False),
                    flags("läu", rstrip=True, special=False),
                ],
                "extra_special_tokens": EXTRA,
            }
        },
    ),
    "added-in-older-files": (
        "model",
        {
            "tokenizer_config": {},
            "special_tokens_map": {
                "additional_special_tokens": ["<sep>"],
                "eos_token": flags("</s>"),
                "pad_token": "<pad>",
            },
            "added_tokens": {"Hund": 350, "<sep>": 351},
        },
    ),
    "clean-up": (
        "json",
        {"tokenizer_config": {"bos_token": "<s>", "clean_up_tokenization_spaces": True}},
    ),
    "described-tokens": (
        "json",
        {
            "tokenizer_config": {
                "eos_token": {
                    "__type": "AddedToken",
                    **flags("</s>", lstrip=True, rstrip=True, normalized=True),
                },
                "extra_special_tokens": {"sep2_token": "<sep2>"},
            }
        },
    ),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_directories(name: str, pieces: Path, saved: Path, tmp_path: Path) -> None:
    kind, files = copy.deepcopy(DIRECTORIES[name])
    shutil.copy(pieces / "spiece.model", tmp_path)
    if kind == "json":
        shutil.copy(saved / "tokenizer.json", tmp_path)
    size = len(json.loads((saved / "tokenizer.json").read_text())["model"]["vocab"]) - 100
    config = files["tokenizer_config"]
    if config.pop("stripping", False):
        config |= {"added_tokens_decoder": listed(size, lstrip=True, rstrip=True)}
        config |= {"additional_special_tokens": EXTRA, "extra_ids": 100, "legacy": True}
    if more := config.pop("more", []):
        after = {str(size + 100 + i): token for i, token in enumerate(more)}
        config["added_tokens_decoder"] = listed(size) | after
    for file, content in files.items():
        write_json(tmp_path, file, content)
    assert_all_equal(Pair(tmp_path, T5Tokenizer.from_pretrained))


def assert_all_equal(pair: Pair) -> None:
    generator = random.Random(1)
    sentences = [
        "".join(generator.choices(ALPHABET, k=generator.randrange(12))) for _ in range(200)
    ]
    for text in (*TEXTS, *sentences, "Hunde ＡＢ<sep> läuft <s> <sep2> Hund", " .  ! n't"):
        pair.assert_equal(text)
    pair.assert_decodes_random_ids()


SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
WORDS = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("name", ["umt5", "general"])
def test_tokenizer_json_as_it_stands(name: str, strip: bool, saved: Path, tmp_path: Path) -> None:
    """umT5's, and those of directories that name a general class: spaces are kept, some behind."""
    content = json.loads((saved / "tokenizer.json").read_text())
    stripping = [{"type": "Strip", "strip_left": False, "strip_right": True}] if strip else []
    steps = [content["normalizer"], *stripping, SPACES]
    content["normalizer"] = {"type": "Sequence", "normalizers": steps}
    content["pre_tokenizer"] = WORDS
    write_json(tmp_path, "tokenizer", content)
    class_name = "T5Tokenizer" if name == "umt5" else "PreTrainedTokenizerFast"
    write_json(tmp_path, "tokenizer_config", {"tokenizer_class": class_name, "eos_token": "</s>"})
    model_type = "umt5" if name == "umt5" else "t5"
    pair = Pair(tmp_path, PreTrainedTokenizerFast.from_pretrained, model_type=model_type)
    assert_all_equal(pair)
    assert (pair.ours.encode("ein  Hund ")[-1] == "▁") is not strip


@pytest.mark.parametrize("name", ["T5Tokenizer", "PreTrainedTokenizerFast"])
def test_tokenizer_json_that_does_more(name: str, saved: Path, tmp_path: Path) -> None:
    """As models have it that were trained with the examples of Flax."""
    content = json.loads((saved / "tokenizer.json").read_text())
    spaces = {**SPACES, "content": " "}
    rules = [{"type": "Nmt"}, {"type": "NFKC"}, spaces, {"type": "Lowercase"}]
    content["normalizer"] = {"type": "Sequence", "normalizers": rules}
    splitters = [WORDS, {"type": "Digits", "individual_digits": True}]
    splitters.append({"type": "Punctuation", "behavior": "Isolated"})
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": splitters}
    content["truncation"] = {
        "direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    write_json(tmp_path, "tokenizer", content)
    options = {"tokenizer_class": name, "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(tmp_path, "tokenizer_config", {**options, "pad_token": "<pad>"})
    assert_all_equal(Pair(tmp_path, PreTrainedTokenizerFast.from_pretrained))


@pytest.mark.parametrize("rule", ["identity", "nfkc", "nmt_nfkc_cf"])
def test_other_normalisations(rule: str, tmp_path: Path) -> None:
    path = write_pieces(tmp_path, normalization_rule_name=rule)
    assert_all_equal(Pair(path, T5Tokenizer.from_pretrained))


@pytest.fixture(scope="module")
def madlad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Special tokens in another order, languages, and a piece for every byte."""
    return write_pieces(
        tmp_path_factory.mktemp("madlad"),
        size=600,
        pad_id=-1,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        user_defined_symbols="<2de>,<2en>,<2zh_Hant>,<2>",
        byte_fallback=True,
    )


def test_madlad(madlad: Path) -> None:
    """transformers 5 takes the third piece for the unknown one, whichever it is."""
    pair = Pair(madlad, T5Tokenizer.from_pretrained)
    unknown = pair.ours.unknown_id
    assert unknown == 0
    for text in (*TEXTS, "<2de> Hund", "ein <2en>Hund <2>"):
        tokens = pair.ours.encode(text)
        ids = pair.ours.source_ids([*tokens, "</s>"])
        theirs = [
            2 if token_id == unknown and token != "<unk>" else token_id
            for token_id, token in zip(ids, [*tokens, "</s>"], strict=True)
        ]
        assert pair.theirs(text).input_ids == theirs


def test_languages_of_madlad(madlad: Path) -> None:
    pair = Pair(madlad, T5Tokenizer.from_pretrained)
    ours, text = pair.ours, "a dog"
    expected = pair.theirs(f"<2de> {text}").input_ids
    assert ours.target_languages == ("de", "en", "zh_Hant")
    assert ours.source_languages == ()
    assert ours.encode_ids(text, tgt_lang="de") == expected
    assert ours.encode_ids(text, src_lang="en", tgt_lang="German") == expected
    assert ours.encode_ids(f"<2de> {text}", tgt_lang="en") == expected
    assert ours.encode_ids(text) == pair.theirs(text).input_ids
    with pytest.raises(OptionError, match=r"'fr'.*de, en, zh_Hant"):
        ours.encode(text, tgt_lang="fr")
    assert ours.forced_bos_id("de") is None
    assert ours.decoder_start_id("de") is None


TASKS = {
    "summarization": {"prefix": "summarize: "},
    "translation_en_to_de": {"prefix": "translate English to German: ", "num_beams": 4},
    "translation_en_to_fr": {"prefix": "translate English to French: "},
}


def test_languages_of_tasks(saved: Path) -> None:
    """config.json of T5 and Flan-T5 says what the text of a task begins with."""
    pair = Pair(saved, T5Tokenizer.from_pretrained, task_specific_params=TASKS)
    ours, text = pair.ours, "a dog"
    expected = pair.theirs(f"translate English to German: {text}").input_ids
    assert (ours.source_languages, ours.target_languages) == (("en",), ("de", "fr"))
    assert ours.encode_ids(text, tgt_lang="de") == expected
    assert ours.encode_ids(text, src_lang="en", tgt_lang="de") == expected
    assert ours.encode_ids(f"translate English to German: {text}", tgt_lang="fr") == expected
    assert ours.encode_ids(text, src_lang="en") == ours.encode_ids(text)
    with pytest.raises(OptionError, match="'ro'"):
        ours.encode(text, tgt_lang="ro")
    with pytest.raises(OptionError, match="'fr'"):
        ours.encode(text, src_lang="fr", tgt_lang="de")


def test_tasks_from_several_languages(saved: Path) -> None:
    tasks = {f"translation_{source}_to_de": {"prefix": f"{source}: "} for source in ("en", "fr")}
    tasks["translation_en_to_ro"] = {"prefix": "to ro: "}
    ours = Pair(saved, T5Tokenizer.from_pretrained, task_specific_params=tasks).ours
    assert ours.encode("a", src_lang="fr", tgt_lang="de") == ours.encode("fr: a")
    with pytest.raises(OptionError, match=r"src_lang must say.*en, fr"):
        ours.encode("a", tgt_lang="de")
    with pytest.raises(OptionError, match="does not translate 'fr' into 'ro'"):
        ours.encode("a", src_lang="fr", tgt_lang="ro")


@pytest.mark.parametrize("languages", [{"tgt_lang": "de"}, {"src_lang": "en"}])
def test_no_languages(pair: Pair, languages: dict[str, str]) -> None:
    assert pair.ours.target_languages == ()
    with pytest.raises(OptionError, match="translate English to German"):
        pair.ours.encode("a dog", **languages)


def test_source_ids(pair: Pair) -> None:
    tokens = pair.ours.encode("ein Hund läuft.")
    ids = pair.theirs("ein Hund läuft.").input_ids
    assert "</s>" not in tokens
    assert pair.ours.source_ids(tokens) == ids
    assert pair.ours.source_ids([*tokens, "</s>"]) == ids
    assert pair.ours.source_tokens(ids) == [*tokens, "</s>"]
    assert pair.ours.source_ids([]) == [1]
    assert pair.ours.source_ids(["no such token"]) == [2, 1]
    assert pair.ours.target_ids([*tokens, "no such token"]) == [*ids[:-1], 2]
    assert pair.ours.encode_target("ein Hund läuft.") == tokens
    assert pair.ours.decode_tokens(["▁a", "b", "▁", "new", "▁c"]) == "ab new c"


@pytest.mark.parametrize("text", [None, b"Hund", 3, ["Hund"]])
def test_text_that_is_no_str(pair: Pair, text: Any) -> None:
    with pytest.raises(TypeError, match=type(text).__name__):
        pair.ours.encode(text)


def test_lone_surrogate(pair: Pair) -> None:
    with pytest.raises(OptionError, match=r"character 5 .* U\+D83D"):
        pair.ours.encode("Hund \ud83d")


def test_threads(pair: Pair) -> None:
    texts = [text for text in TEXTS if len(text) < 100] * 20
    expected = [pair.ours.encode_ids(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pair.ours.encode_ids, texts)) == expected
        assert list(pool.map(pair.ours.decode, expected)) == list(map(pair.ours.decode, expected))


@pytest.mark.parametrize(
    ("corpus", "language"),
    [
        ("multi30k", "de"),
        ("multi30k", "en"),
        ("multi30k", "fr"),
        ("multi30k", "cs"),
        ("newstest", "de"),
        ("newstest", "en"),
    ],
)
def test_corpora(shared_data: Path, saved: Path, corpus: str, language: str) -> None:
    """Every line of real text as ids, and some of the ids as text again."""
    pattern = f"test*.{language}.gz" if corpus == "multi30k" else f"*.{language}.gz"
    files = sorted((shared_data / corpus).glob(pattern))
    lines = [line for file in files for line in read_lines(file)]
    assert len(lines) >= 1000
    pair = Pair(saved, T5Tokenizer.from_pretrained)
    for number, (line, ids) in enumerate(zip(lines, pair.theirs(lines).input_ids, strict=True)):
        assert pair.ours.encode_ids(line) == ids
        if number % 10 == 0:
            assert pair.ours.decode(ids) == pair.theirs.decode(ids, skip_special_tokens=True)
