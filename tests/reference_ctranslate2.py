"""CTranslate2's search in plain NumPy, one sentence at a time, over any function that gives logits.

What differs from `generate` of Hugging Face:

- Tokens are forbidden, and repeated ones penalised, in the logits; log-probabilities are those of
  what is left.
- A beam search ends when `beam_size * patience` hypotheses are finished. With neither penalty it
  ends when the best beam has finished at some step and enough hypotheses are there.
- Of the first `beam_size` candidates of a step, out of twice as many, those that end are finished;
  in their places go the best others of the second half that do not end. What ends there is lost.
- In the step behind a forced prefix only the best candidate may end; the places of others that
  would are lost for the rest of the search.
- Scores are divided by the length with the prefix and the end token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Logits = Callable[[Sequence[int]], Array]  # [vocab_size] behind the tokens, start token left out

_LOWEST = float(np.finfo(np.float32).min)
_LOST = -1e10


@dataclass(frozen=True)
class Options:
    """Those of CTranslate2; tokens are ids."""

    end_ids: tuple[int, ...]
    beam_size: int = 2
    patience: float = 1
    num_hypotheses: int = 1
    length_penalty: float = 1
    repetition_penalty: float = 1
    no_repeat_ngram_size: int = 0
    suppress_sequences: tuple[tuple[int, ...], ...] = ()
    min_decoding_length: int = 1
    max_decoding_length: int = 256


@dataclass(frozen=True)
class Found:
    """A hypothesis with its end token, if it has one."""

    tokens: tuple[int, ...]
    score: float


def search(logits: Logits, options: Options, prefix: Sequence[int] = ()) -> list[Found]:
    """The best hypotheses of a sentence."""
    if options.beam_size == 1:
        return [_greedy(logits, options, prefix)]
    return _beam_search(logits, options, prefix)


def _greedy(logits: Logits, options: Options, prefix: Sequence[int]) -> Found:
    tokens: list[int] = []
    total = 0.0
    for step in range(options.max_decoding_length):
        if step < len(prefix):
            tokens.append(prefix[step])
            continue
        values = _log_probs(logits(tokens), tokens, step, options)
        tokens.append(int(values.argmax()))
        total += float(values.max())
        if tokens[-1] in options.end_ids:
            break
    return Found(tuple(tokens), total / len(tokens) ** options.length_penalty)


def _beam_search(logits: Logits, options: Options, prefix: Sequence[int]) -> list[Found]:
    width = options.beam_size
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[tuple[int, ...], float]] = []
    best_has_ended = False
    for step in range(options.max_decoding_length):
        candidates = _candidates(logits, beams, options, step)
        if step < len(prefix):
            first = (*beams[0][0], prefix[step])
            candidates = [(first, 0.0)] + [(first, _LOST)] * (2 * width - 1)
        elif step == len(prefix) > 0:
            candidates = _only_best_may_end(candidates, options.end_ids)
        last = step + 1 == options.max_decoding_length
        spare = iter(one for one in candidates[width:] if one[0][-1] not in options.end_ids)
        beams = []
        for place, candidate in enumerate(candidates[:width]):
            ends = candidate[0][-1] in options.end_ids and step >= len(prefix)
            if ends or last:
                best_has_ended |= place == 0
                finished.append(candidate)
                candidate = next(spare, candidate)
            beams.append(candidate)
        if last or _is_done(len(finished), best_has_ended, options):
            break
    found = [
        Found(tokens, score / len(tokens) ** options.length_penalty) for tokens, score in finished
    ]
    found.sort(key=lambda one: -one.score)
    return found[: options.num_hypotheses]


def _is_done(finished: int, best_has_ended: bool, options: Options) -> bool:
    if options.length_penalty == 0:
        return best_has_ended and finished >= options.num_hypotheses
    return finished >= math.floor(options.beam_size * options.patience + 0.5)


def _candidates(
    logits: Logits,
    beams: Sequence[tuple[tuple[int, ...], float]],
    options: Options,
    step: int,
) -> list[tuple[tuple[int, ...], float]]:
    """The best continuations of all beams, twice as many as there are beams."""
    scores = np.stack(
        [score + _log_probs(logits(tokens), tokens, step, options) for tokens, score in beams]
    )
    best = np.argsort(-scores, axis=None, kind="stable")[: 2 * options.beam_size]
    places = zip(*np.unravel_index(best, scores.shape), strict=True)
    return [((*beams[beam][0], int(token)), float(scores[beam, token])) for beam, token in places]


def _only_best_may_end(
    candidates: list[tuple[tuple[int, ...], float]], ends: tuple[int, ...]
) -> list[tuple[tuple[int, ...], float]]:
    return [
        ((*tokens[:-1], 0), _LOST) if place > 0 and tokens[-1] in ends else (tokens, score)
        for place, (tokens, score) in enumerate(candidates)
    ]


def _log_probs(logits: Array, said: Sequence[int], step: int, options: Options) -> Array:
    values = np.array(logits, np.float64)
    for token in set(said) if options.repetition_penalty != 1 else ():
        factor = options.repetition_penalty
        values[token] = values[token] * factor if values[token] < 0 else values[token] / factor
    values[_forbidden(said, step, options)] = _LOWEST
    values -= values.max()
    log_probs: Array = values - np.log(np.exp(values).sum())
    return log_probs


def _forbidden(said: Sequence[int], step: int, options: Options) -> list[int]:
    found = list(options.end_ids) if step < options.min_decoding_length else []
    size = options.no_repeat_ngram_size
    if size:
        last = tuple(said[len(said) - size + 1 :])
        for start in range(len(said) - size + 1):
            if tuple(said[start : start + size - 1]) == last:
                found.append(said[start + size - 1])
    for sequence in options.suppress_sequences:
        if tuple(said[len(said) - len(sequence) + 1 :]) == sequence[:-1]:
            found.append(sequence[-1])
    return found
