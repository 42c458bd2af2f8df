"""Damaged tokenizers, and texts, tokens and ids that are none: C++ answers with its own errors."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

import fast_tokenizers
import t5_tokenizers
from bundled import BUNDLED_MODEL
from mutations import damaged, json_mutants
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_seq2seq_tokenizer import read_tokenizer as read_seq2seq
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer as read_t5
from pytransformer.loaders.token_lists import TokenLists
from pytransformer.model_files import open_model
from pytransformer.model_spec import TokenizerSpec
from text_tools import Fault, Questions, build_driver, config_text, write_native

Given = tuple[TokenizerSpec, dict[str, bytes]]

ERRORS = {"CheckpointError", "OptionError", "UnsupportedError", "FormatError", "JsonError"}
TEXTS = ["ein Hund läuft.", "</s> a<mask>", "e\u0301½ﬁ\r\n  \x00x", "漢" * 50, "<2de>de_DE", "0000"]
NO_TEXTS = [
    b"\xff", b"a\xc3", b"\xed\xa0\xbd", b"abcdefgh\xed\xb2\x80", b"\xf4\x90\x80\x80", b"\xc0\x80",
    b"\xe0\x80\x80", b"\x80", b"a\xe2\x82",
]  # fmt: skip


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.getbasetemp())


def bundled() -> Given:
    model = open_model(BUNDLED_MODEL)
    settings = dict(model.tokenizer_spec.settings)
    places = settings.pop("files")
    files = {
        name: model.native.file(place["tensor"], place["length"]) for name, place in places.items()
    }
    return TokenizerSpec("marian", settings), files


def of_family(name: str, path: Path) -> Given:
    fast_tokenizers.write(path, name)
    return read_seq2seq(path, Settings.read(path / "config.json"), 10_000, 10_000)


def of_t5(path: Path) -> Given:
    t5_tokenizers.write_pieces(path)
    config = {"task_specific_params": {"translation_en_to_de": {"prefix": "to de: "}}}
    return read_t5(path, Settings(config, path / "config.json"), 400)


def of_byt5(path: Path) -> Given:
    return read_t5(path, Settings({"tokenizer_class": "ByT5Tokenizer"}, path / "config.json"), 384)


def of_pieces(**options: Any) -> Given:
    model = io.BytesIO()
    words = ("ein", "Hund", "läuft", "über", "die", "Straße", "und", "0", "00", "000", "(a)")
    lines = [" ".join(words[i * k % len(words)] for k in range(1, 9)) for i in range(200)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=300,
        hard_vocab_limit=False, minloglevel=2, **options,
    )  # fmt: skip
    side = {"pieces": "x.spm", "tokens": None}
    settings = {"source": side, "target": {**side, "tokens": "x.json", "end": 1, "unknown": 2}}
    tokens = [None, "</s>", "<unk>", ">>de<<", "Hund", "▁"]
    files = {"x.spm": model.getvalue(), "x.json": json.dumps(tokens).encode()}
    return TokenizerSpec("marian_vocabulary", settings), files


def of_codes() -> Given:
    tokens = ["<unk>", "<s>", "</s>", "Hu@@", "nd", "ein"]
    lists = TokenLists(tokens, tokens, "<unk>", "<s>", "</s>", "</s>", True)
    codes = b"#version: 0.2\nH u\nn d</w>\ne i\nei n</w>\n"
    return lists.tokenizer(Path("x"), {"source.bpe": codes, "target.bpe": codes})


KINDS = {
    "marian": lambda path: bundled(),
    "nllb": lambda path: of_family("nllb", path),
    "mbart": lambda path: of_family("mbart", path),
    "pegasus": lambda path: of_family("pegasus", path),
    "t5": of_t5,
    "byt5": of_byt5,
    "pieces": lambda path: of_pieces(byte_fallback=True, user_defined_symbols=["ein", "00"]),
    "pairs": lambda path: of_pieces(model_type="bpe"),
    "codes": lambda path: of_codes(),
}


@pytest.fixture(scope="module", params=KINDS)
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Given:
    return KINDS[request.param](tmp_path_factory.mktemp(request.param) / "files")


def count_faults(questions: Questions, folder: Path) -> int:
    """Asks, and says how many answers are errors, all of which are ours; empties the folder."""
    faults = [answer for answer in questions.answers() if isinstance(answer, Fault)]
    for path in folder.iterdir():
        path.unlink()
    assert {fault.kind for fault in faults} <= ERRORS, faults
    return len(faults)


def ask(questions: Questions, path: Path) -> None:
    """A few requests of each sort; none of them needs to be answered."""
    questions.open(path)
    for text in TEXTS:
        questions.encode(text)
        questions.add("encode_target", text.encode().hex())
    questions.encode("a", ("de", "de"))
    questions.encode("a", ("German", "German"))
    questions.decode(range(0, 400, 3))
    questions.decode([-1])
    questions.tokens("source_ids", ["▁ein", "", "no such token", "</s>"])
    for name in ("forced_bos", "decoder_start"):
        questions.add(name, b"de".hex())
    for name in ("unknown", "closing", "source_languages", "target_languages"):
        questions.add(name)
    for token_id in (0, 5, 300, 2**31 - 1):
        questions.add("target_token", str(token_id))


def test_texts_that_are_none(driver: Path, tmp_path: Path, given: Given) -> None:
    questions = Questions(driver)
    questions.open(write_native(tmp_path / "x", *given))
    for text in NO_TEXTS:
        questions.encode(text)
        questions.add("encode_target", text.hex())
    answers = questions.answers()[1:]
    assert {answer.kind for answer in answers} == {"OptionError"}
    messages = [message for _, message in answers[::2]]
    assert messages[0] == "text is not UTF-8: byte 0 is 0xff"
    assert "character 0 is the lone surrogate U+D83D" in messages[2]
    assert "character 8 is the lone surrogate U+DC80" in messages[3]


def test_ids_and_tokens_that_are_none(driver: Path, tmp_path: Path, given: Given) -> None:
    questions = Questions(driver)
    questions.open(write_native(tmp_path / "x", *given))
    far = (-1, -(2**31), 100_000, 2**31 - 1)
    for token_id in far:
        questions.decode([token_id])
        for side in ("source", "target"):
            questions.add(f"{side}_token", str(token_id))
    for token in ("", "\x00", "no such token"):
        questions.tokens("target_ids", ["a", token, "b"])
    for text in NO_TEXTS:
        questions.add("source_ids", text.hex())
    answers = questions.answers()[1:]
    for place, token_id in enumerate(far):
        expected = Fault("OptionError", f"no token has the id {token_id}")
        assert answers[3 * place : 3 * place + 3] == [expected] * 3
    assert all(isinstance(answer, list) for answer in answers[3 * len(far) :])


def test_damaged_settings(driver: Path, tmp_path: Path, given: Given) -> None:
    spec, files = given
    whole = json.loads(config_text(spec, files))["tokenizer"]["settings"]
    questions = Questions(driver)
    for number, mutant in enumerate(json_mutants(json.dumps(whole).encode(), 150, seed=1)):
        settings = mutant.decode(errors="surrogatepass")
        config = f'{{"tokenizer": {{"kind": "{spec.kind}", "settings": {settings}}}}}'
        ask(questions, write_native(tmp_path / str(number), spec, files, config))
    assert count_faults(questions, tmp_path) > 150


def test_damaged_files(driver: Path, tmp_path: Path, given: Given) -> None:
    spec, files = given
    if not files:
        pytest.skip("a tokenizer without files")
    questions = Questions(driver)
    generator = random.Random(2)
    for name, content in files.items():
        # Most faults in a long file are in its middle, and what matters stands at both ends.
        reach = generator.choice([None, 200])
        for number, mutant in enumerate(damaged(content, 40, seed=3, reach=reach)):
            path = tmp_path / f"{name}-{number}"
            ask(questions, write_native(path, spec, {**files, name: mutant}))
        for number, mutant in enumerate((b"", b"\x00", b"[]", b'["\\ud800"]', b"[" * 99, b"\xff")):
            path = tmp_path / f"{name}-none-{number}"
            ask(questions, write_native(path, spec, {**files, name: mutant}))
        path = tmp_path / f"{name}-lacking"
        ask(questions, write_native(path, spec, {k: v for k, v in files.items() if k != name}))
    assert count_faults(questions, tmp_path) > 40


def test_other_kinds(driver: Path, tmp_path: Path) -> None:
    questions = Questions(driver)
    for kind in ("library", "moses", "wordpiece", "unheard"):
        questions.open(write_native(tmp_path / kind, TokenizerSpec(kind, {}), {}))
    *only_in_python, unheard = questions.answers()
    for fault in only_in_python:
        assert fault.kind == "UnsupportedError"
        assert "in Python only; give and take ids" in fault.message
    assert unheard == Fault("UnsupportedError", "no tokenizer of kind 'unheard'")
