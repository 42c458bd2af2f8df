"""What the rules of decoding say of single translations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reference_rules import (
    Reason,
    ReferenceHypothesis,
    ReferenceOptions,
    Tokens,
    assert_same,
    broken_rules,
    is_loop,
    missing,
)


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([7] * 7, False),
        ([7] * 8, True),
        ([1, 2] * 3 + [1], False),
        ([5, 1, 2, 1, 2, 1, 2, 1, 2], True),
        ([1, 2, 1, 2, 1, 2, 1, 2, 5], False),
        ([1, 2, 3] * 3 + [1, 2], False),
        ([1, 2, 3] * 4, True),
        (list(range(8)) * 4, True),
        (list(range(9)) * 4, False),
    ],
)
def test_loops(tokens: list[int], loop: bool) -> None:
    assert is_loop(tuple(tokens)) == loop


@pytest.mark.parametrize(
    ("tokens", "need"),
    [
        ((), 6),
        ((1,), 5),
        ((1, 2, 1), 3),
        ((1, 2, 1, 9), 6),
        ((1, 2, 1, 2), 4),  # the last two begin the phrase anew
        ((1, 2, 1, 3), 2),
        ((1, 2, 1, 3, 4), 1),
        ((4, 4, 1, 2, 1), 1),
        ((1, 2, 1, 3, 4, 4, 1), 0),
    ],
)
def test_what_phrases_need(tokens: Tokens, need: int) -> None:
    assert missing([(1, 2, 1, 3), (4, 4)], tokens) == need


BROKEN: dict[str, tuple[Tokens, dict[str, Any]]] = {
    "target_prefix": ((1, 2), {"target_prefix": (2,)}),
    "forced_bos_id": ((1, 2), {"forced_bos_id": 2}),
    "max_decoding_length": ((1, 2), {"max_decoding_length": 1}),
    "min_decoding_length": ((1, 2), {"min_decoding_length": 3}),
    "force_phrases": ((1, 2), {"force_phrases": ((2, 1),)}),
    "stop_loops": ((1,) * 9, {"stop_loops": True}),
    "end_ids": ((1, 0), {}),
    "suppressed_ids": ((1, 2), {"suppressed_ids": (2,)}),
    "allowed_ids": ((1, 2), {"allowed_ids": (0, 2)}),
    "suppress_sequences": ((1, 2), {"suppress_sequences": ((9, 1),)}),
    "no_repeat_ngram_size": ((1, 2, 1, 2), {"no_repeat_ngram_size": 2}),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rules_are_named(rule: str) -> None:
    ids, values = BROKEN[rule]
    reason: Reason = "loop" if is_loop(ids) else "end"
    found = ReferenceHypothesis(ids, -1.0, reason)
    plain = ReferenceOptions(9, max_decoding_length=20)
    assert broken_rules(found, plain, 4) == (["end_ids"] if rule == "end_ids" else [])
    assert rule in broken_rules(found, replace(plain, **values), 4)


@pytest.mark.parametrize(
    ("size", "reason", "changes", "broken"),
    [
        (4, "length", {}, []),
        (4, "end", {}, ["finish_reason"]),
        (3, "end", {}, []),
        (3, "length", {}, ["finish_reason"]),
        (4, "length", {"forced_end_id": 0}, []),
        (2, "length", {"max_length_factor": 0.5}, []),
        (3, "end", {"suppressed_ids": (0,)}, ["end"]),
    ],
)
def test_reasons(size: int, reason: Reason, changes: dict[str, Any], broken: list[str]) -> None:
    options = ReferenceOptions(9, max_decoding_length=4, **changes)
    found = ReferenceHypothesis(tuple(range(1, size + 1)), -1.0, reason)
    assert broken_rules(found, options, 4) == broken


def test_ties_may_change_places() -> None:
    a, b, c = (ReferenceHypothesis((i,), -1.0 - 1e-7 * i, "end") for i in range(3))
    assert_same([b, a], [a, b], tolerance=1e-6)
    assert_same([a, c], [a, b], tolerance=1e-6, score=lambda _: c.score)
    for ours in ([a, c], [a, replace(b, score=-1.1)], [a], [a, replace(b, reason="length")]):
        with pytest.raises(AssertionError):
            assert_same(ours, [a, b], tolerance=1e-6)
    with pytest.raises(AssertionError):
        assert_same([a, c], [a, b], tolerance=1e-6, score=lambda _: -1.1)
