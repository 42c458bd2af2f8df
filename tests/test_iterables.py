"""Streams of sentences: read as they are needed, and equal to lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from bundled import GERMAN, bundled_model
from pytransformer import InputLengthError, OptionError, Translator

SCORED = {"beam_size": 3, "return_scores": True}


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


@pytest.fixture(scope="module")
def tokens(translator: Translator) -> list[list[str]]:
    return [translator.tokenizer.encode(text, tgt_lang="en") for text in GERMAN]


class Watched:
    """An iterable that counts what was taken from it."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.taken = 0
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self.taken += 1
            yield item


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("by", [("examples", 1), ("examples", 5), ("tokens", 40)])
def test_equal_lists(tokens: list[list[str]], workers: int, by: tuple[Any, int]) -> None:
    translator = Translator(bundled_model(), inter_threads=workers, intra_threads=1)
    kind, size = by
    sources = [tokens[i % len(tokens)] for i in range(40)] + [[]]
    expected = translator.translate_batch(sources, **SCORED)
    found = translator.translate_iterable(
        iter(sources), max_batch_size=size, batch_type=kind, **SCORED
    )
    assert list(found) == expected
    targets = [result.hypotheses[0] for result in expected]
    scored = translator.score_iterable(
        iter(sources), iter(targets), max_batch_size=size, batch_type=kind
    )
    assert list(scored) == translator.score_batch(sources, targets)


def test_prefixes_come_along(translator: Translator, tokens: list[list[str]]) -> None:
    prefixes = [["▁The"], None] * 8
    found = translator.translate_iterable(iter(tokens), iter(prefixes), max_batch_size=3)
    assert list(found) == translator.translate_batch(tokens, prefixes)


def test_nothing_is_read_before_it_is_needed(
    translator: Translator, tokens: list[list[str]]
) -> None:
    source = Watched(tokens[i % len(tokens)] for i in range(1000))
    results = translator.translate_iterable(source, max_batch_size=4)
    assert source.taken == 0
    next(results)
    # The batch that is handed out, and two for each worker behind it.
    assert source.taken == 12
    for _ in range(4):
        next(results)
    assert source.taken == 16


def test_batches_of_tokens_bound_what_is_read(translator: Translator) -> None:
    source = Watched([["▁der"] * 9] * 1000)
    next(translator.translate_iterable(source, max_batch_size=20, batch_type="tokens"))
    assert source.taken <= 3 * 2 + 1


def test_closing_ends_what_is_read_ahead(translator: Translator) -> None:
    results = translator.translate_iterable(
        [["▁der"]] + [["▁der"] * 50] * 200, max_batch_size=1, min_decoding_length=400
    )
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert list(results) == []
    assert translator.translate_batch([["▁der"]])


@pytest.mark.parametrize(("sources", "prefixes"), [(3, 5), (5, 3), (0, 1)])
def test_unequal_lengths(translator: Translator, sources: int, prefixes: int) -> None:
    found = translator.translate_iterable(
        [["▁der"]] * sources, [["▁the"]] * prefixes, max_batch_size=2
    )
    for _ in range(min(sources, prefixes)):
        next(found)
    shorter = "source" if sources < prefixes else "target_prefix"
    with pytest.raises(OptionError, match=f"{shorter} ends after {min(sources, prefixes)}"):
        next(found)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (3, TypeError, "source 7 is int"),
        ([-1], OptionError, "source 7 holds the id -1"),
        (["▁der"] * 600, InputLengthError, "input 7 has 601 tokens"),
    ],
)
def test_errors_come_in_their_place(
    translator: Translator, wrong: Any, error: type[Exception], message: str
) -> None:
    found = translator.translate_iterable([["▁der"]] * 7 + [wrong], max_batch_size=3)
    assert len([next(found) for _ in range(7)]) == 7
    with pytest.raises(error, match=message):
        next(found)


def test_what_the_source_raises(translator: Translator) -> None:
    def broken() -> Iterator[list[str]]:
        yield ["▁der"]
        yield ["▁und"]
        raise KeyError("broken")

    found = translator.translate_iterable(broken(), max_batch_size=64)
    assert next(found)
    assert next(found)
    with pytest.raises(KeyError, match="broken"):
        next(found)


def test_wrong_options_at_once(translator: Translator) -> None:
    with pytest.raises(OptionError, match="max_batch_size is -1"):
        translator.translate_iterable([], max_batch_size=-1)
    with pytest.raises(OptionError, match="max_batch_size is -1"):
        translator.score_iterable([], [], max_batch_size=-1)
    with pytest.raises(OptionError, match="no option beam_sise"):
        translator.translate_iterable([], beam_sise=2)
    with pytest.raises(TypeError, match="beam_size"):
        translator.score_iterable([], [], beam_size=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="source is NoneType"):
        translator.translate_iterable(None)  # type: ignore[arg-type]
