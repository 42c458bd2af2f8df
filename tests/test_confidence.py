"""How sure a model is of words, from what it gives their pieces."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytransformer
from bundled import bundled_model
from pytransformer import OptionError
from pytransformer.confidence import WordConfidence, word_confidences

HALF, TENTH = math.log(0.5), math.log(0.1)


def test_pieces_become_words() -> None:
    tokens = ["▁A", "▁cat", "hed", "ral", ".", "</s>"]
    found = word_confidences(tokens, [0.0, HALF, HALF, TENTH, TENTH, -9.0])
    assert [one.word for one in found] == ["A", "cathedral."]
    assert found[0] == WordConfidence("A", 0.0, 1.0)
    assert found[1].log_prob == pytest.approx(2 * HALF + 2 * TENTH)
    assert found[1].confidence == pytest.approx((0.5 * 0.5 * 0.1 * 0.1) ** 0.25)


@pytest.mark.parametrize(
    ("tokens", "log_probs", "words"),
    [
        ([], [], []),
        ([], [-3.0], []),  # an empty translation still ends
        (["</s>"], [-3.0], []),
        (["▁a"], [HALF], ["a"]),
        (["▁a", "b"], [HALF, HALF, -3.0], ["ab"]),  # the end token's, which is not there
        (["a", "▁b"], [HALF, HALF], ["a", "b"]),  # a first piece need not begin with a space
        (["▁", "a", "▁", "</s>"], [HALF] * 4, ["a", ""]),
        ([">>en<<", "▁a"], [HALF, HALF], ["a"]),
        (["日", "本"], [HALF, HALF], ["日本"]),  # no spaces, one word
    ],
    ids=str,
)
def test_odd_tokens(tokens: list[str], log_probs: list[float], words: list[str]) -> None:
    found = word_confidences(tokens, log_probs)
    assert [one.word for one in found] == words
    assert all(one.confidence == pytest.approx(0.5) for one in found)


def test_other_end_tokens() -> None:
    assert [w.word for w in word_confidences(["▁a", "."], [HALF] * 2, end_token=".")] == ["a"]


@pytest.mark.parametrize("log_probs", [[], [0.0], [0.0] * 4])
def test_numbers_that_do_not_belong_to_the_tokens(log_probs: list[float]) -> None:
    with pytest.raises(OptionError, match=f"{len(log_probs)} log-probabilities for 2 tokens"):
        word_confidences(["▁a", "▁b"], log_probs)


@given(
    st.lists(
        st.tuples(st.sampled_from(["▁a", "▁", "b", "."]), st.floats(-50, 0)), min_size=1, max_size=9
    )
)
def test_no_piece_is_lost(pieces: list[tuple[str, float]]) -> None:
    found = word_confidences([token for token, _ in pieces], [value for _, value in pieces])
    assert math.fsum(one.log_prob for one in found) == pytest.approx(sum(v for _, v in pieces))
    assert all(0 <= one.confidence <= 1 for one in found)
    text = "".join(token for token, _ in pieces).replace("▁", " ").removeprefix(" ")
    assert " ".join(one.word for one in found) == text


def test_words_of_a_translation_and_of_its_score_agree() -> None:
    translator = pytransformer.Translator(bundled_model())
    source = [translator.tokenizer.encode("Ein Hund läuft durch den Schnee.", tgt_lang="en")]
    found = translator.translate_batch(source, return_scores=True)[0]
    scored = translator.score_batch(source, found.hypotheses)[0]
    words = word_confidences(found.hypotheses[0], found.log_probs[0])
    assert words == word_confidences(scored.tokens, scored.log_probs)
    text = translator.tokenizer.decode(found.ids[0])
    assert " ".join(word.word for word in words) == text
