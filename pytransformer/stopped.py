"""Translations that the caller has ended."""

from __future__ import annotations

import numpy as np

from pytransformer.pending import Hypothesis, PlainHypothesis


def stopped_after(
    hypothesis: Hypothesis,
    tokens: int,
    unscored: int,
    length_penalty: float,
    *,
    counts_prefix: bool,
) -> Hypothesis:
    """The first `tokens` tokens, scored in the engine's precision as if nothing followed them.

    Args:
        hypothesis: one of greedy search, or of sampling.
        tokens: how many tokens to keep, those of the prefix included.
        unscored: tokens of the prefix, which have no log-probability.
        length_penalty: the exponent of the length in the score.
        counts_prefix: whether that length has the prefix in it.
    """
    scored = max(0, tokens - unscored)
    log_probs = hypothesis.log_probs[:scored]
    total = np.float32(0)
    for log_prob in log_probs:
        total += np.float32(log_prob)
    length = tokens if counts_prefix else scored
    score = float(np.float32(float(total) / length**length_penalty)) if scored else 0.0
    attention, logits = hypothesis.attention, hypothesis.logits
    return PlainHypothesis(
        ids=hypothesis.ids[:tokens],
        score=score,
        log_probs=log_probs,
        reason="stop",
        attention=None if attention is None else attention[:tokens],
        logits=None if logits is None else logits[:scored],
    )
