"""Trained models in Marian's own formats, against what Marian and Bergamot made of them."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import sentencepiece

from pytransformer import Translator
from pytransformer.results import TranslationResult

# Marian prints five decimals, and computes in float32.
CLOSE = 1e-4
LARGE = ("transformer", "ssru")
SMALL = ("aan", "embnorm", "prenorm", "separate-vocab-tied-target")
# What Marian decodes a pre-norm model to is not what it was trained for: from the second token on,
# its decoder forgets to normalise what self-attention reads.
DECODED_AS_TRAINED = ("aan", "embnorm", "separate-vocab-tied-target")
GREEDY: dict[str, Any] = {"beam_size": 1, "length_penalty": 0.0, "return_scores": True}
BEAM: dict[str, Any] = {
    "beam_size": 4,
    "num_hypotheses": 4,
    "length_penalty": 0.6,
    "return_scores": True,
}


@pytest.fixture(scope="module")
def marian_models(shared_data: Path) -> Path:
    folder = shared_data.parent / "models" / "marian"
    if not folder.is_dir():
        pytest.skip(f"no models of Marian's at {folder}")
    return folder


@dataclass(frozen=True)
class Hypothesis:
    """One line of an n-best list; what lies behind </s> of the words' scores is its own."""

    pieces: list[str]
    log_probs: list[float]
    score: float


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def n_best(path: Path) -> list[list[Hypothesis]]:
    found: list[list[Hypothesis]] = []
    for line in lines(path):
        number, text, words, _, score = line.split(" ||| ")
        if int(number) == len(found):
            found.append([])
        scores = [float(word) for word in words.removeprefix("WordScores=").split()]
        found[-1].append(Hypothesis(text.split(), scores, float(score)))
    return found


@functools.lru_cache(maxsize=4)
def opened(path: Path, shortlist: Path | None = None) -> Translator:
    return Translator(path, shortlist=shortlist, intra_threads=1)


def translated(translator: Translator, texts: list[str], **options: Any) -> list[TranslationResult]:
    return translator.translate_batch(
        [translator.tokenizer.encode(text) for text in texts], **options
    )


def compare(found: list[TranslationResult], expected: list[list[Hypothesis]]) -> None:
    """All hypotheses, their words' scores and their own."""
    assert len(found) == len(expected)
    for result, hypotheses in zip(found, expected, strict=True):
        assert result.hypotheses == [hypothesis.pieces for hypothesis in hypotheses]
        for log_probs, score, hypothesis in zip(
            result.log_probs, result.scores, hypotheses, strict=True
        ):
            assert log_probs == pytest.approx(hypothesis.log_probs, abs=CLOSE)
            # It is printed with six digits.
            assert score == pytest.approx(hypothesis.score, abs=CLOSE, rel=1e-5)


@pytest.mark.parametrize("name", LARGE)
def test_text(marian_models: Path, name: str) -> None:
    folder = marian_models / name
    found = opened(folder).translate(lines(folder / "source.txt"), **GREEDY)
    assert found == lines(folder / "greedy.txt")


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("beam4", BEAM),
        ("greedy.maxlen0.5", {**GREEDY, "max_length_factor": 0.5}),
        ("beam4.maxlen0.5", {**BEAM, "max_length_factor": 0.5}),
    ],
)
def test_lists(marian_models: Path, name: str, file: str, options: dict[str, Any]) -> None:
    folder = marian_models / name
    found = translated(opened(folder), lines(folder / "source.txt"), **options)
    compare(found, n_best(folder / f"{file}.nbest.pieces.txt"))


@pytest.mark.parametrize("name", LARGE)
def test_words_of_greedy_search(marian_models: Path, name: str) -> None:
    folder = marian_models / name
    translator = opened(folder)
    found = translated(translator, lines(folder / "source.txt"), **GREEDY)
    for result, (expected,) in zip(found, n_best(folder / "greedy.nbest.txt"), strict=True):
        assert result.log_probs[0] == pytest.approx(expected.log_probs, abs=CLOSE)
        text = translator.tokenizer.decode_tokens(result.hypotheses[0])
        assert text.split() == expected.pieces  # the file has words, not pieces


@pytest.mark.parametrize("name", DECODED_AS_TRAINED)
@pytest.mark.parametrize(("file", "options"), [("greedy", GREEDY), ("beam4", BEAM)])
def test_lists_of_variants(
    marian_models: Path, name: str, file: str, options: dict[str, Any]
) -> None:
    folder = marian_models / "variants" / name
    found = translated(opened(folder), lines(folder / "source.txt"), **options)
    compare(found, n_best(folder / f"{file}.nbest.pieces.txt"))


@pytest.mark.parametrize("name", [*LARGE, *(f"variants/{name}" for name in SMALL)])
def test_forced_scores(marian_models: Path, name: str) -> None:
    folder = marian_models / name
    translator = opened(folder)
    tokenizer = translator.tokenizer
    found = translator.score_batch(
        [tokenizer.encode(text) for text in lines(folder / "source.txt")],
        [tokenizer.encode_target(text) for text in lines(folder / "reference.en.txt")],
    )
    expected = lines(folder / "score.reference.words.txt")
    for result, line in zip(found, expected, strict=True):
        total, words = line.split(" ||| WordScores= ")
        assert result.log_probs == pytest.approx([float(word) for word in words.split()], abs=CLOSE)
        assert result.score == pytest.approx(float(total), abs=1e-3)


@pytest.mark.parametrize("name", LARGE)
def test_strange_lines(marian_models: Path, name: str) -> None:
    """An empty line, unknown characters, surplus blanks."""
    folder = marian_models / name
    translator = opened(folder)
    texts = lines(folder / "edge.source.txt")
    expected = n_best(folder / "edge.beam4.nbest.pieces.txt")
    found = translated(translator, texts, **BEAM)
    empty = texts.index("")
    assert all(not hypothesis.pieces for hypothesis in expected.pop(empty))
    assert found.pop(empty).hypotheses == [[]] * 4
    compare(found, expected)
    assert translator.translate(texts, **BEAM)[empty] == ""


@pytest.mark.parametrize("name", LARGE)
def test_alignments(marian_models: Path, name: str) -> None:
    """Head 0 of the last layer's attention to the source; Marian has a row for </s>, too."""
    folder = marian_models / name
    options = {**GREEDY, "return_attention": True, "attention_layer": -1, "attention_heads": [0]}
    found = translated(opened(folder), lines(folder / "source.txt"), **options)
    with gzip.open(folder / "greedy.pieces.align-soft.txt.gz", "rt", encoding="utf-8") as file:
        expected = [line.rstrip("\n").partition(" ||| ") for line in file]
    for result, (pieces, _, rows) in zip(found, expected, strict=True):
        assert result.hypotheses[0] == pieces.split()
        soft = np.array([[float(value) for value in row.split(",")] for row in rows.split()])
        assert result.attention[0].shape == (len(result.hypotheses[0]), soft.shape[1])
        np.testing.assert_allclose(result.attention[0], soft[: len(pieces.split())], atol=CLOSE)


@pytest.mark.parametrize("name", LARGE)
def test_shortlist(marian_models: Path, name: str) -> None:
    folder = marian_models / name
    translator = opened(folder, marian_models / "ssru" / "lex.50.50.bin")
    found = translator.translate(lines(folder / "source.txt"), **GREEDY)
    assert found == lines(folder / "greedy.shortlist.txt")


def test_binary_float32(marian_models: Path) -> None:
    folder = marian_models / "ssru"
    translator = opened(folder / "model.marian-float32.bin")
    assert translator.compute_type == "float32"
    found = translator.translate(lines(folder / "source.txt"), **GREEDY)
    assert found == lines(folder / "greedy.txt")


@pytest.mark.parametrize(
    ("name", "model", "theirs"),
    [
        ("transformer", "bergamot-intgemm8", "bergamot.bin-int8"),
        ("transformer", "bergamot-intgemm8", "bergamot.bin-int8shiftAll"),
        ("transformer", "bergamot-intgemm8.alphas", "bergamot.bin-int8shiftAlphaAll"),
        ("ssru", "bergamot-intgemm8", "bergamot.bin-int8"),
        ("ssru", "bergamot-intgemm8", "bergamot.bin-int8shiftAll"),
        ("ssru", "bergamot-intgemm8.alphas", "bergamot.bin-int8shiftAlphaAll"),
        ("ssru", "marian-intgemm8", "greedy.marian-intgemm8"),
    ],
)
def test_quality_of_int8(marian_models: Path, name: str, model: str, theirs: str) -> None:
    """Rounding differs, so that texts do; how good they are does not."""
    folder = marian_models / name
    translator = opened(folder / f"model.{model}.bin")
    assert translator.compute_type == "int8"
    references = [lines(folder / "reference.en.txt")]
    found = translator.translate(lines(folder / "source.txt"), **GREEDY)
    ours = sacrebleu.corpus_bleu(found, references).score
    assert ours == pytest.approx(bleu_of(folder / f"{theirs}.txt", references), abs=0.3)


def bleu_of(path: Path, references: list[list[str]]) -> float:
    return float(sacrebleu.corpus_bleu(lines(path), references).score)


@pytest.mark.parametrize(
    ("name", "vocabularies"),
    [
        ("ssru", ("vocab.spm", "vocab.spm")),
        ("variants/separate-vocab-tied-target", ("de.spm", "en.spm")),
    ],
)
def test_ids_and_texts_are_sentencepieces(
    marian_models: Path, name: str, vocabularies: tuple[str, str]
) -> None:
    folder = marian_models / name
    tokenizer = opened(folder).tokenizer
    source, target = (
        sentencepiece.SentencePieceProcessor(model_file=str(folder / file)) for file in vocabularies
    )
    texts = [
        *lines(folder / "source.txt"),
        "",
        "  ",
        "日本語 \t 日 ⁇ <unk> </s> ▁ x",
        "x" * 500,
        "\x00\n",
    ]
    encode: Callable[[str], list[int]] = tokenizer.encode_ids
    for text in texts:
        ids = source.encode(text)
        assert encode(text) == [*ids, 0]
        assert tokenizer.source_ids(tokenizer.encode(text)) == [*ids, 0]
        assert tokenizer.source_ids(tokenizer.source_tokens(ids)) == [*ids, 0]
        target_ids = target.encode(text)
        assert tokenizer.target_ids(tokenizer.encode_target(text)) == target_ids
        assert tokenizer.decode([*target_ids, 0]) == target.decode(target_ids)
        assert tokenizer.decode_tokens(target.encode(text, out_type=str)) == target.decode(
            target.encode(text, out_type=str)
        )


def test_defaults_of_a_decoder(marian_models: Path) -> None:
    """What its configuration says, or Marian itself; a model without one is searched greedily."""
    with_configuration = opened(marian_models / "ssru").limits.defaults
    assert with_configuration["beam_size"] == 12
    assert with_configuration["length_penalty"] == 0
    assert with_configuration["max_length_factor"] == 3
    alone = opened(marian_models / "ssru" / "model.bergamot-intgemm8.bin").limits.defaults
    assert alone["beam_size"] == 1
