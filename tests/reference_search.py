"""Decoding from its definitions, slow and plain: what the engine's searches must return.

`beam_search` keeps the best few hypotheses at each step, as Hugging Face's `generate` or Marian;
`exhaustive` looks at every sequence there is, which is what a beam search finds whose beams are
wide enough.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pytransformer import _native
from reference_rules import (
    Reason,
    ReferenceHypothesis,
    ReferenceOptions,
    Tokens,
    broken_rules,
    contains,
    is_loop,
    missing,
)

Array = npt.NDArray[np.float64]


class LanguageModel(Protocol):
    """A model that reads one source; it must give the same tokens the same answer."""

    def step(self, tokens: Tokens) -> tuple[Array, Array]:
        """Logits [vocabulary] behind `tokens`, which begin with the start token, and the attention
        [source] of that step."""


class EngineModel:
    """The engine's own logits, so that both searches rank the same numbers."""

    def __init__(
        self,
        engine: _native.Engine,
        source: Sequence[int],
        attention: Callable[[Tokens], Array] | None = None,
    ) -> None:
        self._engine = engine
        self._source = list(source)
        self._attention = attention or (lambda _: np.zeros(len(source)))
        self._known: dict[Tokens, tuple[Array, Array]] = {}

    def step(self, tokens: Tokens) -> tuple[Array, Array]:
        if tokens not in self._known:
            logits = self._engine.logits(self._source, list(tokens))[-1].astype(np.float64)
            self._known[tokens] = logits, self._attention(tokens)
        return self._known[tokens]


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


@dataclass(frozen=True)
class _Path:
    """A hypothesis on its way: `rank` orders it among others, `total` is what it has scored.

    `last` is the token that came last, the end token too, which is not among `tokens`.
    """

    tokens: Tokens
    last: int = -1
    ended: bool = False
    rank: float = 0.0
    total: float = 0.0


class _Sentence:
    """One source under a model with its options: what may follow, and what it scores."""

    def __init__(self, model: LanguageModel, options: ReferenceOptions) -> None:
        self.model = model
        self.options = options
        self._steps: dict[Tokens, tuple[Array, Array]] = {}
        self.source_length = len(model.step((options.start_id,))[1])
        self.limit = options.limit(self.source_length)
        if len(options.forced_prefix) >= self.limit:
            raise ValueError("the prefix leaves no room for a token")

    def log_probabilities(self, tokens: Tokens) -> Array:
        return log_softmax(self._logits(tokens))

    def step(self, tokens: Tokens) -> tuple[Array, Array]:
        """By what each next token is ranked, -inf where it is forbidden, and what it scores."""
        if tokens not in self._steps:
            self._steps[tokens] = self._step(tokens, Counter())
        return self._steps[tokens]

    def _step(self, tokens: Tokens, chosen: Counter[int]) -> tuple[Array, Array]:
        """The same, where `chosen` counts what earlier groups of beams took in this step."""
        options = self.options
        raw = self.log_probabilities(tokens)
        forced = self._forced(tokens)
        if forced is not None:
            only = np.where(np.arange(len(raw)) == forced, 0.0, -np.inf)
            return only, only
        history = (options.start_id, *tokens)
        values = self._logits(tokens) if options.greedy else raw.copy()
        for token, count in chosen.items():
            values[token] -= count * options.diversity_penalty
        p = options.repetition_penalty
        for token in set(history):
            values[token] = values[token] * p if values[token] < 0 else values[token] / p
        if options.greedy:
            # The same for all tokens, so that it changes no order; a bias wants probabilities.
            values -= np.logaddexp.reduce(self._logits(tokens))
        forbidden = [self._is_forbidden(history, token) for token in range(len(raw))]
        values[forbidden] = -np.inf
        if options.renormalize_logits and np.isfinite(values).any():
            raw = values = log_softmax(values)
        biased = self._towards_prefix(tokens, values)
        biased[forbidden] = -np.inf
        return biased, raw if options.greedy else biased

    def continuations(self, path: _Path, chosen: Counter[int]) -> Iterator[_Path]:
        """All that may follow a hypothesis, by one token."""
        options = self.options
        ranks, scores = self._step(path.tokens, chosen) if chosen else self.step(path.tokens)
        for token in np.flatnonzero(np.isfinite(ranks)).tolist():
            ended = token in options.end_ids
            tokens = path.tokens if ended else (*path.tokens, token)
            left = 0 if ended else self.limit - len(tokens)
            if missing(options.force_phrases, tokens) <= left:
                rank, total = path.total + ranks[token], path.total + scores[token]
                yield _Path(tokens, token, ended, rank, total)

    def path(self, tokens: Tokens, end: int | None) -> _Path:
        """The way to these tokens, whatever the rules say, and to the end token behind them.

        Its total is -inf where that end token is forbidden, since `tokens` do not tell which it is.
        """
        total = 0.0
        for size in range(len(self.options.forced_prefix), len(tokens)):
            total += float(self.step(tokens[:size])[1][tokens[size]])
        if end is not None:
            ranks, scores = self.step(tokens)
            total += float(scores[end]) if np.isfinite(ranks[end]) else -math.inf
        return _Path(tokens, ended=end is not None, total=total)

    def stops(self, path: _Path) -> bool:
        """Whether nothing can follow."""
        full = self.options.forced_end_id is None and len(path.tokens) == self.limit
        return path.ended or full

    def finished(self, path: _Path) -> ReferenceHypothesis:
        options, tokens = self.options, path.tokens
        length = len(tokens) - len(options.forced_prefix) + path.ended
        score = path.total / length**options.length_penalty + self._coverage(path)
        by_itself: Reason = "length" if len(tokens) == self.limit else "end"
        return ReferenceHypothesis(tokens, float(score), "loop" if is_loop(tokens) else by_itself)

    def _logits(self, tokens: Tokens) -> Array:
        logits = self.model.step((self.options.start_id, *tokens))[0].copy()
        if self.options.allowed_ids is not None:
            logits[~np.isin(np.arange(len(logits)), self.options.allowed_ids)] = -np.inf
        return logits

    def _forced(self, tokens: Tokens) -> int | None:
        if len(tokens) == self.limit:
            return self.options.forced_end_id
        return None if tokens else self.options.forced_bos_id

    def _towards_prefix(self, tokens: Tokens, values: Array) -> Array:
        prefix, beta = self.options.target_prefix, self.options.prefix_bias_beta
        if beta <= 0 or len(tokens) >= len(prefix) or tokens != prefix[: len(tokens)]:
            return values
        wanted = np.arange(len(values)) == prefix[len(tokens)]
        with np.errstate(divide="ignore"):
            return np.log((1 - beta) * np.exp(values) + beta * wanted)

    def _is_forbidden(self, history: Tokens, token: int) -> bool:
        options = self.options
        size = options.no_repeat_ngram_size
        whole = (*history, token)
        repeats = 0 < size <= len(history) and contains(history, whole[-size:])
        need = missing(options.force_phrases, history[1:])
        if need >= self.limit - len(history) + 1 and need > missing(
            options.force_phrases, whole[1:]
        ):
            repeats = False  # what phrases need is all that has room
        ends = any(whole[-len(sequence) :] == sequence for sequence in options.suppress_sequences)
        early = token in options.end_ids and len(history) - 1 < options.min_decoding_length
        early |= token in options.end_ids and need > 0
        return token in options.suppressed_ids or repeats or ends or early

    def _coverage(self, path: _Path) -> float:
        """Over the steps of all tokens, those of the prefix and the end token included.

        An end token that is forced comes without a step.
        """
        if self.options.coverage_penalty == 0:
            return 0.0
        history = (self.options.start_id, *path.tokens)
        by_itself = path.ended and len(path.tokens) < self.limit
        steps = range(1, len(history) + by_itself)
        covered = sum((self.model.step(history[:i])[1] for i in steps), np.zeros(1))
        logs = np.log(np.minimum(1.0, covered[covered > 0]))
        return self.options.coverage_penalty * float(logs.sum())


class _Group:
    """Beams that are searched together; all of them, unless the search is diverse."""

    def __init__(self, sentence: _Sentence, root: _Path) -> None:
        self.sentence = sentence
        self.live = [root]
        self.finished: list[ReferenceHypothesis] = []
        self.done = False

    def advance(self, chosen: Counter[int]) -> None:
        """One step; `chosen` is told the tokens of what goes on."""
        sentence, options = self.sentence, self.sentence.options
        width, considered = options.group_size, (1 + len(options.end_ids)) * options.group_size
        if options.beam_rule == "marian":
            considered = width = width - len(self.finished)
        banks: dict[int, list[_Path]] = {}
        for live in self.live:
            for path in sentence.continuations(live, chosen):
                need = missing(options.force_phrases, path.tokens)
                banks.setdefault(need, []).append(path)
        self.live = []
        for bank in banks.values():
            bank.sort(key=lambda path: -path.rank)
            best = bank[:considered]
            self._finish(path for path in best[:width] if sentence.stops(path))
            self.live += [path for path in best if not sentence.stops(path)][:width]
        self._finish(path for path in self.live if options.is_stopped_loop(path.tokens))
        self.live = [path for path in self.live if not options.is_stopped_loop(path.tokens)]
        self.finished.sort(key=lambda hypothesis: -hypothesis.score)
        del self.finished[options.capacity :]
        chosen.update(path.last for path in self.live)
        self.done = self._is_done()

    def _finish(self, paths: Iterator[_Path]) -> None:
        self.finished += map(self.sentence.finished, paths)

    def _is_done(self) -> bool:
        options = self.sentence.options
        if not self.live:
            return True
        if options.beam_rule == "marian" or len(self.finished) < options.capacity:
            return False
        if options.greedy or options.early_stopping is True:
            return True
        length = len(self.live[0].tokens)
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = self.sentence.limit + (options.forced_end_id is not None)
        length -= len(options.forced_prefix)
        possible = max(path.total for path in self.live) / length**options.length_penalty
        return possible <= self.finished[-1].score


def beam_search(model: LanguageModel, options: ReferenceOptions) -> list[ReferenceHypothesis]:
    """The hypotheses that a search with these beams returns, best first."""
    sentence = _Sentence(model, options)
    if not options.return_alternatives:
        root = _Path(options.forced_prefix)
        return _search_from(sentence, root)[: options.num_hypotheses]
    best: list[ReferenceHypothesis] = []
    for path in _alternatives(sentence):
        halts = sentence.stops(path) or options.is_stopped_loop(path.tokens)
        found = [sentence.finished(path)] if halts else _search_from(sentence, path)
        best += found[:1]
    return _best_first(best)


def exhaustive(model: LanguageModel, options: ReferenceOptions) -> list[ReferenceHypothesis]:
    """All hypotheses that keep the rules, best first, as one group of beams scores them.

    Where alternatives are asked for, the best one behind each of them.
    """
    sentence = _Sentence(model, options)
    found = [
        (path, sentence.finished(path))
        for path in _all_paths(sentence)
        if math.isfinite(path.total)
        and not broken_rules(
            sentence.finished(path), options, sentence.source_length, ended=path.ended
        )
    ]
    if not options.return_alternatives:
        return _best_first(hypothesis for _, hypothesis in found)
    best: list[ReferenceHypothesis] = []
    for first in _alternatives(sentence):
        size = len(first.tokens)
        behind = [h for path, h in found if path.tokens[:size] == first.tokens]
        best += [sentence.finished(first)] if first.ended else _best_first(behind)[:1]
    return _best_first(best)


def rescore(
    model: LanguageModel, options: ReferenceOptions, hypothesis: ReferenceHypothesis
) -> float:
    """What a hypothesis scores, whoever found it, as one group of beams scores it.

    Where it may have one of several end tokens, the score that comes nearest to its own.
    """
    sentence = _Sentence(model, options)
    ends: tuple[int | None, ...] = (None,)
    if options.is_ended(hypothesis, sentence.source_length):
        ends = options.end_ids
    paths = [sentence.path(hypothesis.ids, end) for end in ends]
    scores = [sentence.finished(path).score for path in paths]
    return min(scores, key=lambda score: abs(score - hypothesis.score))


def sampling_distribution(model: LanguageModel, options: ReferenceOptions, tokens: Tokens) -> Array:
    """The probabilities from which the next token of a sample is drawn."""
    ranks, _ = _Sentence(model, options).step(tokens)
    ranks = ranks / options.sampling_temperature
    size = options.sampling_topk or len(ranks)
    ranks[ranks < np.sort(ranks)[-size:][0]] = -np.inf
    probabilities = np.exp(log_softmax(ranks))
    order = np.argsort(-probabilities, kind="stable")
    before = np.cumsum(probabilities[order]) - probabilities[order]
    # What comes when the probability is reached already; the best token always stays.
    probabilities[order[1:][before[1:] >= options.sampling_topp]] = 0.0
    return probabilities / probabilities.sum()


def _best_first(hypotheses: Iterable[ReferenceHypothesis]) -> list[ReferenceHypothesis]:
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def _search_from(sentence: _Sentence, root: _Path) -> list[ReferenceHypothesis]:
    """The finished hypotheses of all groups of beams behind the root."""
    groups = [_Group(sentence, root) for _ in range(sentence.options.num_beam_groups)]
    while not all(group.done for group in groups):
        chosen: Counter[int] = Counter()
        for group in groups:
            if not group.done:
                group.advance(chosen)
    return _best_first(hypothesis for group in groups for hypothesis in group.finished)


def _alternatives(sentence: _Sentence) -> list[_Path]:
    """What is forced with each of the best next tokens, as far as they are probable enough."""
    options = sentence.options
    root = _Path(options.root)
    if len(root.tokens) == sentence.limit:
        return [root]
    paths = sorted(sentence.continuations(root, Counter()), key=lambda path: -path.rank)
    shares = sentence.log_probabilities(root.tokens)
    if options.renormalize_logits:
        shares = sentence.step(root.tokens)[1]
    probabilities = np.exp(shares)
    least = options.min_alternative_expansion_prob
    others = paths[1 : options.num_hypotheses]
    return paths[:1] + [path for path in others if probabilities[path.last] >= least]


def _all_paths(sentence: _Sentence) -> Iterator[_Path]:
    """Every sequence of tokens up to the maximum length with every end, whatever the rules say."""
    options = sentence.options
    size = len(sentence.log_probabilities(options.forced_prefix))
    words = [token for token in range(size) if token not in options.end_ids]
    for length in range(sentence.limit - len(options.forced_prefix) + 1):
        for own in itertools.product(words, repeat=length):
            for end in (*options.end_ids, None) if own else options.end_ids:
                yield sentence.path((*options.forced_prefix, *own), end)
