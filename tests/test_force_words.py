"""Required words: their phrases come, and no piece that goes on with the last word behind them."""

from __future__ import annotations

import re

import pytest

from bundled import GERMAN
from decoding_cases import WIDE
from decoding_engine import engine_model, native_options, plain
from pytransformer import Translator, _native
from pytransformer.words import continues_word
from random_models import END, lively_checkpoint, make_engine, run_search, search_options
from reference_rules import ReferenceHypothesis, ReferenceOptions, Tokens, assert_same
from reference_search import exhaustive

PADDING = 6


def is_whole(ids: Tokens, phrase: Tokens, continuations: set[int]) -> bool:
    """Whether the phrase comes somewhere with no continuation at once behind it."""
    size = len(phrase)
    return any(
        ids[i : i + size] == phrase and not continuations.intersection(ids[i + size : i + size + 1])
        for i in range(len(ids) - size + 1)
    )


@pytest.mark.parametrize(
    ("words", "continuations"),
    [
        (((3, 1),), {1, 2}),
        (((1,),), {1}),
        (((1,), (2, 4)), {4, 5}),
        (((2, 2),), {2}),
        (((3,), (3, 4)), {4}),
    ],
)
@pytest.mark.parametrize("forced_end", [END, None])
def test_wide_beams_find_the_best_of_all(
    words: tuple[Tokens, ...], continuations: set[int], forced_end: int | None
) -> None:
    engine = make_engine(lively_checkpoint(7, 7))
    changes = {"max_decoding_length": 5, "suppressed_ids": (PADDING,), "forced_end_id": forced_end}
    options = ReferenceOptions(PADDING, **{**WIDE, **changes}, force_phrases=words)
    for source in ([3, 1, 4, END], [2, END]):
        request = _native.Request(
            source, force_words=words, continuations=_native.TokenList(sorted(continuations))
        )
        (found,) = engine.submit([request], native_options(options)).result()
        every: list[ReferenceHypothesis] = [
            hypothesis
            for hypothesis in exhaustive(engine_model(engine, source), options)
            if all(is_whole(hypothesis.ids, word, continuations) for word in words)
        ]
        assert len(every) > 20
        assert_same(plain(found), every[: options.capacity], 1e-4)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_narrow_beams_say_them_too(beam_size: int) -> None:
    """Where the model likes nothing but continuations, the end is possible still."""
    engine = make_engine(lively_checkpoint(1, 30))
    source, start = [5, 9, 11, END], 29
    options = search_options(start, beam_size=beam_size, max_decoding_length=12)
    for token in range(1, 29):
        others = sorted(set(range(1, 29)) - {token})
        request = _native.Request(
            source, force_words=[[token]], continuations=_native.TokenList(others)
        )
        ((best, *_),) = engine.submit([request], options).result()
        assert is_whole(tuple(best.ids), (token,), set(others))


def test_without_words_nothing_changes() -> None:
    engine = make_engine(lively_checkpoint(1, 30))
    source, options = [5, 9, 11, END], search_options(29, beam_size=3)
    request = _native.Request(source, continuations=_native.TokenList([1, 2, 3]))
    found = engine.submit([request], options).result()
    assert [[(h.ids, h.score) for h in found[0]]] == run_search(engine, [source], options)


@pytest.mark.parametrize(
    ("token", "goes_on"),
    [("▁cat", False), ("hoes", True), ("ö", True), ("7", True), (".", False), ("'", False),
     ("</s>", False), ("<unk>", False), ("", False), ("猫", False), ("ね", False), ("แ", False)],
)  # fmt: skip
def test_which_pieces_go_on_with_a_word(token: str, goes_on: bool) -> None:
    assert continues_word(token) is goes_on


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("words", [["cat"], ["snow", "man"], ["a dog"]])
def test_text_comes_as_whole_words(words: list[str], beam_size: int) -> None:
    translations = Translator().translate(
        GERMAN[:8], tgt_lang="en", force_phrases=words, beam_size=beam_size
    )
    for translation in translations:
        for word in words:
            assert re.search(rf"(?<!\w){word}(?!\w)", translation), translation
