"""Options of decoding, and the rules that they set for a translation, whoever found it.

Lengths count tokens without start and end token; tokens are those of a hypothesis, its prefix
included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Tokens = tuple[int, ...]
Reason = Literal["end", "length", "loop"]

# Scores that differ by no more say nothing about which hypothesis should have come first.
TIE = 1e-6


@dataclass(frozen=True)
class ReferenceOptions:
    """All options of decoding, as ids; what is not given is off.

    Attributes:
        forced_end_id: what follows a hypothesis of the maximum length; None: nothing does.
        forced_bos_id: the first token behind the start token.
        suppressed_ids: tokens that never come, the unknown token among them if it is disabled.
        allowed_ids: the only tokens that the model knows; None: all.
        max_length_factor: tokens allowed for each of the source; 0: any number.
        sampling_topk: 1 takes the best token; 0 draws from all.
    """

    start_id: int
    end_ids: Tokens = (0,)
    forced_end_id: int | None = None
    forced_bos_id: int | None = None
    beam_size: int = 1
    patience: float = 1.0
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    beam_rule: Literal["generate", "marian"] = "generate"
    coverage_penalty: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    renormalize_logits: bool = False
    suppressed_ids: Tokens = ()
    suppress_sequences: tuple[Tokens, ...] = ()
    allowed_ids: Tokens | None = None
    min_decoding_length: int = 0
    max_decoding_length: int = 30
    max_length_factor: float = 0.0
    target_prefix: Tokens = ()
    prefix_bias_beta: float = 0.0
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    force_phrases: tuple[Tokens, ...] = ()
    return_alternatives: bool = False
    min_alternative_expansion_prob: float = 0.0
    stop_loops: bool = False
    sampling_topk: int = 1
    sampling_topp: float = 1.0
    sampling_temperature: float = 1.0

    @property
    def greedy(self) -> bool:
        """Phrases need a beam in each bank, and so a comparison of sums, even with one beam."""
        return self.beam_size == 1 and not self.force_phrases

    @property
    def group_size(self) -> int:
        return self.beam_size // self.num_beam_groups

    @property
    def capacity(self) -> int:
        """How many finished hypotheses are kept in each group; halves are rounded up."""
        if self.beam_rule == "marian":
            return self.group_size
        return 1 if self.greedy else max(1, math.floor(self.group_size * self.patience + 0.5))

    @property
    def forced_prefix(self) -> Tokens:
        return () if self.prefix_bias_beta > 0 else self.target_prefix

    @property
    def first_forced(self) -> Tokens:
        """The token that is forced behind the start token, if it is and no prefix stands there."""
        if self.forced_bos_id is None or self.forced_prefix:
            return ()
        return (self.forced_bos_id,)

    @property
    def root(self) -> Tokens:
        """All that is forced behind the start token."""
        return self.forced_prefix or self.first_forced

    def limit(self, source_length: int) -> int:
        """Tokens of the longest hypothesis; `source_length` counts the source's end token.

        What is forced has room whatever the source's length, and so has one token behind a prefix.
        """
        limit = self.max_decoding_length
        if self.max_length_factor > 0:
            least = len(self.root) + max(1, sum(map(len, set(self.force_phrases))))
            limit = min(limit, max(least, math.ceil(self.max_length_factor * source_length)))
        return limit

    def is_stopped_loop(self, tokens: Tokens) -> bool:
        """Whether a hypothesis whose last token was generated is finished for its repetition."""
        return self.stop_loops and is_loop(tokens) and missing(self.force_phrases, tokens) == 0

    def is_ended(self, hypothesis: ReferenceHypothesis, source_length: int) -> bool:
        """Whether an end token came, by itself or by force."""
        if self.is_stopped_loop(hypothesis.ids):
            return False
        return len(hypothesis.ids) < self.limit(source_length) or self.forced_end_id is not None


@dataclass(frozen=True)
class ReferenceHypothesis:
    """A translation without start and end token."""

    ids: Tokens
    score: float
    reason: Reason


def contains(tokens: Sequence[int], phrase: Sequence[int]) -> bool:
    """Whether the phrase stands somewhere in the tokens, in one piece."""
    size = len(phrase)
    return any(tuple(tokens[i : i + size]) == tuple(phrase) for i in range(len(tokens) - size + 1))


def missing(phrases: Sequence[Tokens], tokens: Tokens) -> int:
    """Tokens that the phrases still need, but for those of the one that is furthest."""
    waiting = [phrase for phrase in set(phrases) if not contains(tokens, phrase)]
    begun = [
        size
        for phrase in waiting
        for size in range(1, len(phrase))
        if tokens[-size:] == phrase[:size]
    ]
    return sum(map(len, waiting)) - max(begun, default=0)


def is_loop(tokens: Tokens) -> bool:
    """Whether they end with 1 to 8 tokens at least four times in a row, 8 tokens or more in all."""
    for size in range(1, 9):
        times = max(4, math.ceil(8 / size))
        if len(tokens) >= size * times and tokens[-size * times :] == tokens[-size:] * times:
            return True
    return False


def broken_rules(
    hypothesis: ReferenceHypothesis,
    options: ReferenceOptions,
    source_length: int,
    ended: bool | None = None,
) -> list[str]:
    """The options that a hypothesis does not obey; `ended`, if known: an end token came."""
    ids, limit = hypothesis.ids, options.limit(source_length)
    ended = options.is_ended(hypothesis, source_length) if ended is None else ended
    grown = [ids[:size] for size in range(len(options.forced_prefix) + 1, len(ids) + 1)]
    loops = [tokens for tokens in grown if options.is_stopped_loop(tokens)]
    cut = ids in loops or (len(ids) == limit and options.forced_end_id is None)
    reason = "loop" if is_loop(ids) else "length" if len(ids) == limit else "end"
    by_itself = ended and len(ids) < limit
    no_end = set(options.end_ids) <= set(options.suppressed_ids)
    kept = {
        "target_prefix": ids[: len(options.forced_prefix)] == options.forced_prefix,
        "forced_bos_id": not options.first_forced or ids[:1] == options.first_forced,
        "max_decoding_length": len(ids) <= limit,
        "min_decoding_length": not by_itself or len(ids) >= options.min_decoding_length,
        "force_phrases": missing(options.force_phrases, ids) == 0
        and all(missing(options.force_phrases, t) <= limit - len(t) for t in grown),
        "stop_loops": not loops or loops == [ids],
        "end": ended != cut and not (by_itself and no_end),
        "finish_reason": hypothesis.reason == reason,
    }
    return [name for name, right in kept.items() if not right] + _forbidden_tokens(ids, options)


def _forbidden_tokens(ids: Tokens, options: ReferenceOptions) -> list[str]:
    """The options that forbid one of the tokens that were free to choose."""
    free = ids[len(options.root) :]
    history = (options.start_id, *ids[: len(ids) - len(free)])
    size = options.no_repeat_ngram_size
    broken = set()
    for token in free:
        whole = (*history, token)
        if token in options.end_ids:
            broken.add("end_ids")
        if token in options.suppressed_ids:
            broken.add("suppressed_ids")
        if options.allowed_ids is not None and token not in options.allowed_ids:
            broken.add("allowed_ids")
        if any(whole[-len(sequence) :] == sequence for sequence in options.suppress_sequences):
            broken.add("suppress_sequences")
        if 0 < size <= len(history) and contains(history, whole[-size:]):
            broken.add("no_repeat_ngram_size")
        history = whole
    return sorted(broken)


def assert_same(
    ours: Sequence[ReferenceHypothesis],
    reference: Sequence[ReferenceHypothesis],
    tolerance: float,
    score: Callable[[ReferenceHypothesis], float] | None = None,
) -> None:
    """The same hypotheses in the same order, with scores within the tolerance, but for ties.

    Those that score the same within the tolerance may change places. One that the reference does
    not have must tie with the one whose place it takes, by what `score` says of it.
    """
    assert len(ours) == len(reference)
    scores: dict[tuple[Tokens, Reason], list[float]] = {}
    for theirs in reference:
        scores.setdefault((theirs.ids, theirs.reason), []).append(theirs.score)
    for mine, theirs in zip(ours, reference, strict=True):
        assert abs(mine.score - theirs.score) <= tolerance, (mine, theirs)
        twins = scores.get((mine.ids, mine.reason), [])
        if any(abs(mine.score - twin) <= tolerance for twin in twins):
            continue
        assert score is not None, (mine, theirs)
        assert abs(score(mine) - theirs.score) <= TIE, (mine, theirs)
