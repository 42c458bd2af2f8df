"""The tokenizers built with the system's sentencepiece library, beside those of Python.

The library's version may be another one than Python's, and versions differ where several ways to
cut a text are equally good.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from bundled import ENGLISH, GERMAN, corpus
from embedding import ROOT, need, need_package
from mutations import damaged
from pytransformer import tokenizers
from pytransformer.loaders.token_lists import TokenLists
from pytransformer.model_files import BUNDLED_MODEL, open_model
from sentencepiece_models import (
    bundled_pieces,
    edited,
    equal_scores,
    fields,
    of_pieces,
    train,
    varint,
)
from text_tools import (
    Beside,
    Fault,
    Questions,
    build_driver,
    random_ids,
    random_texts,
    write_native,
)

BUNDLED = (*GERMAN, *ENGLISH)
OWN = ["<2de>", "ein", "Hund läuft", "a", "aa", "aaa"]
ODD = [
    "",
    " ",
    "\x00",
    "NUL \x00 inside",
    "</s> <unk> <2de>",
    "▁ein ▁ Hund▁▁",
    "漢" * 50,
    "0" * 999,
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.getbasetemp(), reader="library")


@pytest.fixture(scope="module")
def lines(shared_data: Path) -> list[str]:
    """German and English lines of all corpora."""
    found: list[str] = []
    for name, every in (
        ("multi30k/train", 12),
        ("multi30k/test_2016_flickr", 10),
        ("newstest/newstest2014", 3),
        ("tatoeba/train", 100),
        ("tatoeba/val", 10),
    ):
        for side in corpus(shared_data, name):
            found += side[::every]
    assert len(found) > 5000
    return found


WITHOUT_TIES: dict[str, dict[str, Any]] = {
    "pairs": {"model_type": "bpe", "control_symbols": ["<c>"], "unk_surface": " ?? "},
    "pairs-bytes": {"model_type": "bpe", "byte_fallback": True, "user_defined_symbols": OWN},
    "characters": {"model_type": "char", "vocab_size": 80, "normalization_rule_name": "identity"},
    "words": {"model_type": "word", "remove_extra_whitespaces": False},
}


@pytest.mark.parametrize("name", WITHOUT_TIES)
def test_models_without_ties(driver: Path, tmp_path: Path, lines: list[str], name: str) -> None:
    """No two ways to cut a text are equally good, so all ids are the same."""
    spec, files, size = of_pieces(train(lines[::15], **WITHOUT_TIES[name]))
    python = tokenizers.create(spec, files)
    both = Beside(python, Questions(driver), write_native(tmp_path / "x", spec, files))
    generator = random.Random(0)
    both.assert_texts_equal([*ODD, *random_texts(generator, 50)])
    both.assert_texts_equal(lines[::6], every=5)
    both.assert_ids_equal(list(random_ids(generator, size)))
    both.assert_properties_equal(["de"])


def assert_tie(
    processor: sentencepiece.SentencePieceProcessor, found: Sequence[int], right: Sequence[int]
) -> None:
    """Two ways to cut one text have one score, but for what is lost where floats are summed."""
    unknown = processor.unk_id()
    assert processor.decode(found) == processor.decode(right)
    assert found.count(unknown) == right.count(unknown)
    sums = [math.fsum(map(processor.get_score, ids)) for ids in (found, right)]
    lost = max(len(found), len(right)) * 2.0**-23 * max(map(abs, sums))
    assert abs(sums[0] - sums[1]) <= lost


@pytest.mark.parametrize("name", ["bundled", "equal scores"])
def test_differences_are_ties(driver: Path, tmp_path: Path, lines: list[str], name: str) -> None:
    if name == "equal scores":
        model = edited(train(lines[::15], vocab_size=400), equal_scores)
        texts = [*ODD, *lines[::50]]
    else:
        model = bundled_pieces("source")
        texts = [*ODD, *BUNDLED, *lines]
    spec, files, _ = of_pieces(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    questions = Questions(driver)
    questions.open(write_native(tmp_path / "x", spec, files))
    for text in texts:
        questions.encode(text)
    ties = 0
    for text, ids in zip(texts, questions.answers()[1:], strict=True):
        right = processor.encode(text)
        assert ids[-1] == processor.eos_id()
        if ids[:-1] != right:
            assert_tie(processor, ids[:-1], right)
            ties += 1
    assert name == "equal scores" or ties <= len(texts) / 200


def test_bundled_model(driver: Path) -> None:
    model = open_model(BUNDLED_MODEL)
    both = Beside(model.tokenizer, Questions(driver), Path(BUNDLED_MODEL))
    both.assert_texts_equal(BUNDLED)
    both.assert_ids_equal(list(random_ids(random.Random(1), model.spec.decoder.vocab_size)))


def test_lists_of_tokens(driver: Path, tmp_path: Path) -> None:
    """Their tokens are looked up by the pieces' texts."""
    model = train(BUNDLED, model_type="bpe", vocab_size=150)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size(), 2)]
    tokens = ["<unk>", "<s>", "</s>", *pieces]
    lists = TokenLists(tokens, tokens, "<unk>", "<s>", "</s>", "</s>", True)
    spec, files = lists.tokenizer(Path("x"), {"source.spm": model, "target.spm": model})
    python = tokenizers.create(spec, files)
    both = Beside(python, Questions(driver), write_native(tmp_path / "x", spec, files))
    both.assert_texts_equal([*ODD, *BUNDLED])


def faults_of(driver: Path, path: Path, model: bytes) -> list[Fault]:
    """The errors for a model that may be none; a crash, or anything on stderr, is a failure."""
    spec, files, _ = of_pieces(bundled_pieces("source"))
    questions = Questions(driver)
    questions.open(write_native(path, spec, {**files, "x.spm": model}))
    for text in (*ODD, *BUNDLED[::9], "e\u0301½ﬁ ＡＢＣ Ⅷ \u1112\u1161\u11ab"):
        questions.encode(text)
    questions.decode(range(0, 400, 3))
    return [answer for answer in questions.answers() if isinstance(answer, Fault)]


def test_damaged_models(driver: Path, tmp_path: Path) -> None:
    """They are refused, and nothing is written; most faults lie where characters are mapped."""
    model = bundled_pieces("source")
    own = train(BUNDLED, vocab_size=400, byte_fallback=True, user_defined_symbols=OWN)
    (mapped,) = (content for number, content in fields(model) if number == 3)
    mutants = [*damaged(model, 30, 1), *damaged(model, 30, 2, 200), *damaged(own, 60, 3)]
    for content in (*damaged(mapped, 60, 4), *damaged(mapped, 30, 5, 40)):
        mutants.append(model + b"\x1a" + varint(len(content)) + content)
    mutants += [b"", b"\x00", b"\xff" * 20, os.urandom(1000)]
    faults = [fault for mutant in mutants for fault in faults_of(driver, tmp_path / "x", mutant)]
    assert {fault.kind for fault in faults} <= {"CheckpointError", "OptionError"}
    assert len([fault for fault in faults if "not a sentencepiece model" in fault.message]) > 60


def test_tests_within_a_model_are_not_run(driver: Path, tmp_path: Path) -> None:
    """The library would tell of failures on stderr; Python's version runs none either."""
    sample = b"\x0a\x03und\x12\x0bu n d u n d"
    content = b"\x0a" + varint(len(sample)) + sample
    model = bundled_pieces("source") + b"\x22" + varint(len(content)) + content
    sentencepiece.SentencePieceProcessor(model_proto=model)
    assert not faults_of(driver, tmp_path / "x", model)


@pytest.mark.parametrize(("count", "opens"), [(64, True), (65, False)])
def test_users_pieces_within_one_another(
    driver: Path, tmp_path: Path, count: int, opens: bool
) -> None:
    """The library has no room for more of them that a text begins with."""
    words = ["x" * length for length in range(1, count + 1)]
    model = train(BUNDLED, model_type="bpe", vocab_size=300, user_defined_symbols=words)
    questions = Questions(driver)
    spec, files, _ = of_pieces(model)
    questions.open(write_native(tmp_path / "x", spec, files))
    questions.encode("x" * count)
    opened, ids = questions.answers()
    assert (opened == "opened") is opens
    assert not opens or len(ids) == 3  # with the space and the end


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_package(tmp_path: Path, kind: str) -> None:
    """Whoever links the static library is told to link sentencepiece too."""
    need("cmake", "c++")
    need_package("sentencepiece")
    configure(tmp_path, f"-DBUILD_SHARED_LIBS={'ON' if kind == 'shared' else 'OFF'}")
    required = (tmp_path / "pytransformer.pc").read_text().partition("Requires:")[2].split("\n")[0]
    assert required.strip() == ("sentencepiece" if kind == "static" else "")


def configure(build: Path, *options: str, **environment: str) -> None:
    command = ["cmake", "-S", str(ROOT), "-B", str(build), "-DPYTRANSFORMER_SENTENCEPIECE=ON"]
    subprocess.run(
        [*command, *options],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_without_the_library(tmp_path: Path) -> None:
    need("cmake", "c++")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        configure(tmp_path, PKG_CONFIG_LIBDIR=str(tmp_path), PKG_CONFIG_PATH="")
    assert "finds no sentencepiece library" in caught.value.stderr
    assert "libsentencepiece-dev" in caught.value.stderr
