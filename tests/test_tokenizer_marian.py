"""The tokenizer of MarianMT against transformers' MarianTokenizer."""

from __future__ import annotations

import gzip
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MarianTokenizer

from checkpoints import MarianCheckpoint, train_pieces, write_tokenizer
from pytransformer import loaders, tokenizers
from pytransformer.errors import CheckpointError, OptionError, UnsupportedModelError
from pytransformer.loaders.huggingface_marian_tokenizer import read_tokenizer
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers import Tokenizer

TEXTS = [
    "",
    " ",
    "   \t\n ",
    "ein Hund läuft.",
    "  ein   Hund\tläuft\n",
    "a\u00a0dog\u2009runs\u200b.",
    "👩‍👩‍👧 🇩🇪 ½ ﬁ Ⅷ ＡＢＣ",
    "e\u0301 \u1e69 ä",
    "كلب يركض \u202eabc\u202c שלום",
    "\x01\x02\x7f\x85\ufeff\ufffd\U0010ffff",
    "NUL \x00 inside",
    "\x00",
    "x" * 10_000,
    "läuft" * 2_000,
    "ein </s> Hund",
    "ein Hund </s>",
    "</s>",
    "</s></s>",
    "<pad> <unk>Hund<pad>",
    "< /s> </ s> <</s>> <unk",
    "<unk<unk>>",
    ">>de<<",
    ">>de<< ein Hund",
    ">>de<<ein Hund",
    " >>de<< ein Hund",
    ">>xx<< ein Hund",
    ">>de ein Hund",
    ">><< ein Hund",
    ">>de<< >>en<< ein Hund",
    "</s>>>de<< ein Hund",
    "ein >>de<< Hund",
    "▁ein ▁ Hund▁",
    "\r\n\v\f\u2028\u2029",
]
LANGUAGES = ("de", "en", "pt_BR")


class Pair:
    """Our tokenizer and transformers' for one directory."""

    def __init__(self, path: Path, size: int = 10_000) -> None:
        files, options = read_tokenizer(path, size, size)
        self.ours: Tokenizer = tokenizers.create(TokenizerSpec("marian", options), files)
        self.theirs = MarianTokenizer.from_pretrained(path)

    def assert_equal(self, text: str) -> None:
        """The same ids for a text, and the same text for these ids."""
        ids = self.theirs(text).input_ids
        assert self.ours.encode_ids(text) == ids
        self.assert_decodes_equal(ids)

    def assert_decodes_equal(self, ids: list[int]) -> None:
        assert self.ours.decode(ids) == self.theirs.decode(ids, skip_special_tokens=True)
        assert self.ours.target_tokens(ids) == self.theirs.convert_ids_to_tokens(ids)


def make_pair(path: Path, separate: bool = False, languages: Any = (), **config: Any) -> Pair:
    path.mkdir(exist_ok=True)
    write_tokenizer(path, separate, languages, config)
    return Pair(path)


@pytest.fixture(scope="module", params=["one pair", "prefixes"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    languages = LANGUAGES if request.param == "prefixes" else ()
    return make_pair(tmp_path_factory.mktemp("tokenizer"), languages=languages)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:30])
def test_equal_to_transformers(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


ALPHABET = [*"aeinHund läß.<>/s", "</s>", "<unk>", "<pad>", ">>de<<", "▁", "\x00", "\u00a0", "é"]


@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_random_text_with_special_tokens(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_random_text(pair: Pair, text: str) -> None:
    pair.assert_equal(text)


def test_random_ids(pair: Pair) -> None:
    generator = random.Random(0)
    for _ in range(300):
        length = generator.randrange(20)
        pair.assert_decodes_equal([generator.randrange(len(pair.theirs)) for _ in range(length)])


def test_separate_vocabularies(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, separate=True)
    for text in TEXTS:
        assert pair.ours.encode_ids(text) == pair.theirs(text).input_ids
    tokens = pair.theirs.tokenize("a dog runs.", text_target=True)
    with_target = pair.theirs(text_target="a dog runs.").input_ids
    assert pair.ours.target_ids(pair.ours.target_tokens(with_target)) == with_target
    assert pair.ours.decode(with_target) == "a dog runs."
    assert tokens


def test_target_piece_with_the_id_of_a_special_source_token(tmp_path: Path) -> None:
    """Unlike transformers, which looks special tokens up on the source side only."""
    write_tokenizer(tmp_path, True, (), {})
    path = tmp_path / "vocab.json"
    source = json.loads(path.read_text())
    target = json.loads((tmp_path / "target_vocab.json").read_text())
    dog = target["▁dog"]
    (piece,) = (token for token, token_id in source.items() if token_id == dog)
    path.write_text(json.dumps({**source, "<pad>": dog, piece: source["<pad>"]}))
    ours = Pair(tmp_path).ours
    assert ours.source_ids(["<pad>"]) == [dog, 0]
    assert ours.target_tokens([dog]) == ["▁dog"]
    assert ours.decode([dog, target["<pad>"], 0]) == "dog"


def test_clean_up(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, clean_up_tokenization_spaces=True)
    pieces = json.loads((tmp_path / "vocab.json").read_text())
    ids = [pieces["▁ein"], pieces["▁"], pieces["."], pieces["▁"], pieces["."], pieces["▁Hund"]]
    pair.assert_decodes_equal(ids)
    assert pair.ours.decode(ids) == "ein.. Hund"


@pytest.mark.parametrize("stripping", [{}, {"lstrip": True}, {"rstrip": True}], ids=str)
def test_added_tokens(tmp_path: Path, stripping: dict[str, bool]) -> None:
    base = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    added = {
        "0": {**base, "content": "</s>", "special": True},
        "1": {**base, "content": "<unk>", "special": True},
        "900": {**base, "content": "<sep>", "special": True, **stripping},
        "901": {**base, "content": "Hund", "special": False, **stripping},
    }
    pair = make_pair(tmp_path, added_tokens_decoder=added, extra_special_tokens=["<sep>"])
    for text in ("ein <sep> Hund läuft", "<sep>", " <sep>  <sep> Hund ", "Hunde"):
        pair.assert_equal(text)


def test_older_files(tmp_path: Path) -> None:
    """Special tokens in special_tokens_map.json, added ones in added_tokens.json."""
    write_tokenizer(tmp_path, False, (), {})
    (tmp_path / "tokenizer_config.json").unlink()
    special = {"eos_token": "</s>", "pad_token": {"content": "<pad>"}, "unk_token": "<unk>"}
    special |= {"additional_special_tokens": ["<mask>"]}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<name>": 700}))
    pair = Pair(tmp_path)
    for text in ("ein <name> Hund <mask>.", "<mask><name>"):
        pair.assert_equal(text)


def test_special_token_that_the_vocabulary_lacks(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, False, (), {})
    vocab = json.loads((tmp_path / "vocab.json").read_text())
    del vocab["<pad>"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    Pair(tmp_path).assert_equal("ein <pad> Hund")


def test_without_tokenizer_config(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, False, (), {})
    (tmp_path / "tokenizer_config.json").unlink()
    Pair(tmp_path).assert_equal("ein </s> Hund")


@pytest.mark.parametrize(
    "config", [{"sp_model_kwargs": {"enable_sampling": True}}, {"split_special_tokens": True}]
)
def test_unsupported(tmp_path: Path, config: dict[str, Any]) -> None:
    write_tokenizer(tmp_path, False, (), config)
    with pytest.raises(UnsupportedModelError, match=next(iter(config))):
        read_tokenizer(tmp_path, 10_000, 10_000)


def test_source_ids(pair: Pair) -> None:
    tokens = pair.ours.encode("ein Hund läuft.")
    ids = pair.theirs("ein Hund läuft.").input_ids
    assert "</s>" not in tokens
    assert pair.ours.source_ids(tokens) == ids
    assert pair.ours.source_ids([*tokens, "</s>"]) == ids
    assert pair.ours.source_ids([]) == [0]
    assert pair.ours.source_ids(["no such token"]) == [1, 0]
    assert pair.ours.target_ids([*tokens, "no such token"]) == [*ids[:-1], 1]


def test_prefix_for_a_language(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, languages=LANGUAGES)
    ours, text = pair.ours, "ein Hund"
    expected = pair.theirs(f">>de<< {text}").input_ids
    assert ours.target_languages == ("de", "en", "pt_BR")
    assert ours.encode_ids(text, tgt_lang="de") == expected
    assert ours.encode(text, tgt_lang="de")[0] == ">>de<<"
    assert ours.encode_ids(f">>de<< {text}", tgt_lang="de") == expected
    assert ours.encode_ids(f">>de<< {text}", tgt_lang="en") == expected
    assert ours.encode_ids(text) == pair.theirs(text).input_ids  # as Hugging Face does
    with pytest.raises(OptionError, match=r"'xx'.*de, en, pt_BR"):
        ours.encode(text, tgt_lang="xx")
    # What is no prefix of this model is text.
    assert ours.encode(f">>xx<< {text}", tgt_lang="de")[0] == ">>de<<"


def test_default_target_language(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, languages=LANGUAGES, default_target_language="en")
    assert pair.ours.encode("ein Hund")[0] == ">>en<<"
    assert pair.ours.encode("ein Hund", tgt_lang="de")[0] == ">>de<<"
    assert pair.ours.encode(">>de<< ein Hund")[0] == ">>de<<"


def test_unknown_default_target_language(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="default_target_language 'xx'"):
        make_pair(tmp_path, languages=LANGUAGES, default_target_language="xx")


def test_languages_of_one_pair(tmp_path: Path) -> None:
    ours = make_pair(tmp_path, source_lang="de", target_lang="en").ours
    assert (ours.source_languages, ours.target_languages) == (("de",), ("en",))
    assert ours.encode("Hund", src_lang="de", tgt_lang="en") == ours.encode("Hund")
    with pytest.raises(OptionError, match=r"target language 'fr'.* en"):
        ours.encode("Hund", tgt_lang="fr")
    with pytest.raises(OptionError, match=r"source language 'fr'.* de"):
        ours.encode("Hund", src_lang="fr")


@pytest.mark.parametrize(("source", "target"), [("deu", "eng"), ("gmw", "gmw"), ("de", "en_GB")])
def test_other_names_of_a_language(tmp_path: Path, source: str, target: str) -> None:
    """Of a code that is not plain ISO 639-1 nobody can say that it excludes "de"."""
    ours = make_pair(tmp_path, source_lang=source, target_lang=target).ours
    assert (ours.source_languages, ours.target_languages) == ((source,), (target,))
    assert ours.encode("Hund", src_lang="de", tgt_lang="en") == ours.encode("Hund")


@pytest.mark.parametrize("config", [{}, {"source_lang": "mul", "target_lang": "mul"}], ids=str)
def test_unnamed_languages(tmp_path: Path, config: dict[str, str]) -> None:
    ours = make_pair(tmp_path, **config).ours
    assert (ours.source_languages, ours.target_languages) == ((), ())
    assert ours.encode("Hund", src_lang="de", tgt_lang="en") == ours.encode("Hund")


@pytest.mark.parametrize("text", [None, b"Hund", 3, ["Hund"]])
def test_text_that_is_no_str(pair: Pair, text: Any) -> None:
    with pytest.raises(TypeError, match=type(text).__name__):
        pair.ours.encode(text)


def test_lone_surrogate(pair: Pair) -> None:
    with pytest.raises(OptionError, match=r"character 5 .* U\+D83D"):
        pair.ours.encode("Hund \ud83d")
    assert pair.ours.encode("\ud83d\udc15".encode("utf-16", "surrogatepass").decode("utf-16"))


@pytest.mark.parametrize("token_id", [-1, 10_000])
def test_id_without_token(pair: Pair, token_id: int) -> None:
    for method in (pair.ours.decode, pair.ours.target_tokens):
        with pytest.raises(OptionError, match=str(token_id)):
            method([5, token_id])


def test_broken_files(marian: MarianCheckpoint) -> None:
    checkpoint = loaders.load(marian.path)
    for name in ("source.spm", "source_vocabulary.json"):
        with pytest.raises(CheckpointError, match=name):
            tokenizers.create(checkpoint.tokenizer, {**checkpoint.files, name: b"broken"})
        fewer = {key: content for key, content in checkpoint.files.items() if key != name}
        with pytest.raises(CheckpointError, match=name):
            tokenizers.create(checkpoint.tokenizer, fewer)
    with pytest.raises(CheckpointError):
        tokenizers.create(TokenizerSpec("marian", {}), checkpoint.files)
    with pytest.raises(UnsupportedModelError, match="unheard"):
        tokenizers.create(TokenizerSpec("unheard", {}), {})


def test_threads(pair: Pair) -> None:
    texts = [text for text in TEXTS if len(text) < 100] * 20
    expected = [pair.ours.encode_ids(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pair.ours.encode_ids, texts)) == expected
        assert list(pool.map(pair.ours.decode, expected)) == list(map(pair.ours.decode, expected))


def test_unusual_rows_decode_like_transformers(tmp_path: Path) -> None:
    """An embedding may have rows for which there is no token."""
    write_tokenizer(tmp_path, False, (), {})
    vocab = json.loads((tmp_path / "vocab.json").read_text())
    removed = vocab.pop("▁Hund")
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    pair = Pair(tmp_path)
    size = sentencepiece.SentencePieceProcessor(model_proto=train_pieces("de")).get_piece_size()
    assert removed < size
    pair.assert_decodes_equal([5, removed, 6])


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
def test_corpora(shared_data: Path, tmp_path: Path, corpus: str, language: str) -> None:
    """Every line of real text as ids, and some of the ids as text again."""
    files = sorted((shared_data / corpus).glob(f"*.{language}.gz"))
    lines = [line for file in files for line in read_lines(file)]
    assert len(lines) > 1000
    pair = make_pair(tmp_path)
    for number, line in enumerate(lines):
        ids = pair.theirs(line).input_ids
        assert pair.ours.encode_ids(line) == ids
        if number % 10 == 0:
            assert pair.ours.decode(ids) == pair.theirs.decode(ids, skip_special_tokens=True)


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]
