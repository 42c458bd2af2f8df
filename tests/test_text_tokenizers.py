"""The tokenizers in C++ beside those in Python: the same ids, texts, languages and errors."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import fast_tokenizers
import t5_tokenizers
import test_tokenizer_m2m100
from bundled import BUNDLED_MODEL
from checkpoints import write_tokenizer
from pytransformer import loaders, tokenizers
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_marian_tokenizer import read_tokenizer as read_marian
from pytransformer.loaders.huggingface_seq2seq_tokenizer import read_tokenizer as read_seq2seq
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer as read_t5
from pytransformer.model_files import open_model
from pytransformer.model_spec import TokenizerSpec
from test_tokenizer_marian import TEXTS as MARIAN_TEXTS
from test_tokenizer_t5 import TASKS
from text_tools import Beside, Languages, Questions, build_driver, random_ids, random_texts
from text_tools import write_native as write
from tokenizer_pairs import TEXTS, corpus

Files = Mapping[str, bytes]
SIZE = 10_000
# Codes and names as users write them, some of no language, and what has to be quoted in messages.
LANGUAGES = (
    "de", "deu", "German", "GERMAN", " german ", "de_DE", "deu_Latn", "eng-Latn", "__de__", "pt",
    "pt_BR", "zh", "Chinese", "sr", "Serbian", "en", "fr", "ro", "Norwegian Bokmål",
    "NORWEGIAN BOKMÅL", "ﬁnnish", "Fin\u017f", "xx", "Klingon", "a'b", '"', "\\\n\x00", "a" * 50,
)  # fmt: skip


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def lines(shared_data: Path) -> tuple[list[str], tuple[str, ...]]:
    """Lines of real text, and others, to train on."""
    some, training = corpus(shared_data)
    return some[::2], training[::4]


def beside(driver: Path, path: Path, spec: TokenizerSpec, files: Files) -> Beside:
    """Both tokenizers, of settings that have been JSON, as they are in a file."""
    spec = TokenizerSpec(spec.kind, json.loads(json.dumps(spec.settings)))
    return Beside(tokenizers.create(spec, files), Questions(driver), write(path, spec, files))


def assert_equal(
    both: Beside,
    size: int,
    real: Iterable[str],
    languages: Languages = ("", ""),
) -> None:
    """For ids below `size`, and for texts of all kinds."""
    generator = random.Random(size)
    texts = [*TEXTS, *MARIAN_TEXTS, *random_texts(generator)]
    both.assert_texts_equal(texts, languages)
    both.assert_texts_equal(list(real), languages, every=10)
    both.assert_ids_equal([[], *random_ids(generator, size)])
    both.assert_properties_equal(LANGUAGES)


def test_bundled_model(driver: Path, lines: tuple[list[str], Any]) -> None:
    model = open_model(BUNDLED_MODEL)
    both = Beside(model.tokenizer, Questions(driver), Path(BUNDLED_MODEL))
    size = model.spec.decoder.vocab_size
    assert_equal(both, size + 1, lines[0])
    assert_equal(both, size, lines[0][::20], ("", "de"))


@pytest.mark.parametrize(
    ("separate", "languages", "config"),
    [
        (False, (), {}),
        (False, ("de", "en", "pt_BR"), {}),
        (True, (), {}),
        (True, (), {"source_lang": "de", "target_lang": "en"}),
        (
            False,
            ("de", "en"),
            {"default_target_language": "en", "clean_up_tokenization_spaces": True},
        ),
        (
            False,
            (),
            {
                "added_tokens_decoder": {
                    "0": {"content": "</s>", "special": True},
                    "1": {"content": "<unk>", "special": True},
                    "900": {"content": "<sep>", "special": True, "lstrip": True},
                    "901": {"content": "Hund", "special": False, "rstrip": True},
                },
            },
        ),
    ],
)
def test_marian(
    driver: Path,
    tmp_path: Path,
    lines: tuple[list[str], Any],
    separate: bool,
    languages: tuple[str, ...],
    config: dict[str, Any],
) -> None:
    write_tokenizer(tmp_path, separate, languages, config)
    files, settings = read_marian(tmp_path, SIZE, SIZE)
    both = beside(driver, tmp_path / "x", TokenizerSpec("marian", settings), files)
    assert_equal(both, 330, lines[0][::10])
    both.assert_texts_equal(["a <sep>  Hund  b<sep>Hunde", " <sep> Hund"])


@pytest.mark.parametrize("from_json", [False, True])
@pytest.mark.parametrize("name", fast_tokenizers.FAMILIES)
def test_languages_of_models(
    driver: Path, tmp_path: Path, lines: tuple[list[str], Any], name: str, from_json: bool
) -> None:
    path = fast_tokenizers.write(tmp_path / "pieces", name, lines[1])
    if from_json:
        path = fast_tokenizers.save_again(path, tmp_path / "again")
    spec, files = read_seq2seq(path, Settings.read(path / "config.json"), SIZE, SIZE)
    both = beside(driver, tmp_path / "x", spec, files)
    assert_equal(both, 3400, lines[0] if from_json else lines[0][::10])
    for code in fast_tokenizers.LANGUAGES[name][:2]:
        both.assert_texts_equal(TEXTS, (code, ""))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("nllb", {"legacy_behaviour": True}),
        ("mbart", {"src_lang": "de_DE", "clean_up_tokenization_spaces": True}),
        ("mbart50", {"src_lang": "de_DE", "tgt_lang": "fr_XX"}),
    ],
)
def test_settings_of_models(
    driver: Path, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    path = fast_tokenizers.write(tmp_path, name, **config)
    spec, files = read_seq2seq(path, Settings.read(path / "config.json"), SIZE, SIZE)
    both = beside(driver, tmp_path / "x", spec, files)
    assert_equal(both, 600, [])
    # Sources that end in a language, or lack what closes them.
    for text in ("Hund", ""):
        tokens = both.python.encode(text, src_lang="German")
        ids = [both.python.source_ids(tokens[:count]) for count in range(len(tokens) + 1)]
        both.assert_ids_equal([*ids, *(some[:-1] for some in ids)])


@pytest.mark.parametrize("small", [False, True])
def test_m2m100(driver: Path, tmp_path: Path, lines: tuple[list[str], Any], small: bool) -> None:
    """SMaLL-100 names the target's language where M2M100 has the source's."""
    config = {"tokenizer_class": "SMALL100Tokenizer"} if small else {}
    path = test_tokenizer_m2m100.write(tmp_path, lines[1], **config)
    spec, files = read_seq2seq(path, Settings.read(path / "config.json"), SIZE, SIZE)
    both = beside(driver, tmp_path / "x", spec, files)
    assert_equal(both, 3000, lines[0], ("en", "German"))


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({}, {}),
        ({}, {"task_specific_params": TASKS}),
        (
            {},
            {
                "task_specific_params": {
                    "translation_en_to_de": {"prefix": "a: "},
                    "translation_fr_to_de": {"prefix": "b: "},
                    "translation_en_to_ro": {"prefix": "c: "},
                }
            },
        ),
        ({"normalization_rule_name": "identity"}, {}),
        ({"normalization_rule_name": "nfkc"}, {}),
        ({"normalization_rule_name": "nmt_nfkc_cf"}, {}),
        (
            {
                "size": 600,
                "pad_id": -1,
                "unk_id": 0,
                "bos_id": 1,
                "eos_id": 2,
                "user_defined_symbols": "<2de>,<2en>,<2zh_Hant>,<2>",
                "byte_fallback": True,
            },
            {},
        ),
    ],
    ids=["bare", "tasks", "sources", "identity", "nfkc", "nmt_nfkc_cf", "madlad"],
)
def test_t5(
    driver: Path,
    tmp_path: Path,
    lines: tuple[list[str], Any],
    options: dict[str, Any],
    config: dict[str, Any],
) -> None:
    path = t5_tokenizers.write_pieces(tmp_path / "pieces", **options)
    spec, files = read_t5(path, Settings(config, path / "config.json"), 800)
    assert_equal(beside(driver, tmp_path / "x", spec, files), 800, lines[0][::4])


@pytest.mark.parametrize("cleans", [False, True])
def test_byt5(driver: Path, tmp_path: Path, lines: tuple[list[str], Any], cleans: bool) -> None:
    options = Settings({"tokenizer_class": "ByT5Tokenizer"}, tmp_path / "config.json")
    flags = {"lstrip": True, "rstrip": True, "special": False}
    tokens = {"384": {"content": "<sep>", **flags}, "385": {"content": "é", **flags}}
    if cleans:
        t5_tokenizers.write_json(
            tmp_path,
            "tokenizer_config",
            {"added_tokens_decoder": tokens, "clean_up_tokenization_spaces": True},
        )
    spec, files = read_t5(tmp_path, options, 400)
    both = beside(driver, tmp_path / "x", spec, files)
    assert_equal(both, 400, lines[0][::10])
    both.assert_texts_equal(["a \x1c<sep>\x1f b", "\x85 <pad> \u3000 b", "漢 é </s>", "</s>"])


@pytest.mark.parametrize("name", ["marian/ssru", "fairseq/base", "opennmt_py/base"])
def test_other_checkpoints(
    driver: Path, tmp_path: Path, shared_data: Path, lines: tuple[list[str], Any], name: str
) -> None:
    path = shared_data.parent / "models" / name
    if not path.is_dir():
        pytest.skip(f"no model at {path}")
    checkpoint = loaders.load(path)
    both = beside(driver, tmp_path / "x", checkpoint.tokenizer, checkpoint.files)
    assert_equal(both, checkpoint.model.decoder.vocab_size, lines[0][::10])
