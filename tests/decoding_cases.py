"""Options of searches by name: those that transformers has too, and those for wide beams."""

from __future__ import annotations

from typing import Any

from random_models import END

VOCABULARY = 23
PADDING = VOCABULARY - 1  # starts translations too
OTHER_END = 5

# For a vocabulary of 23 tokens.
SEARCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "forced-end": {"forced_end_id": END},
    "one-token": {"max_decoding_length": 1},
    "one-token-and-end": {"max_decoding_length": 1, "forced_end_id": END},
    "stops-early": {"early_stopping": True},
    "never-stops-early": {"early_stopping": "never", "forced_end_id": END},
    "short": {"length_penalty": -0.7},
    "sum": {"length_penalty": 0.0, "early_stopping": "never"},
    "long": {"length_penalty": 2.5, "early_stopping": "never"},
    "least-length": {"min_decoding_length": 6},
    "one-length": {"min_decoding_length": 7, "max_decoding_length": 7},
    "repeats-less": {"repetition_penalty": 1.8},
    "repeats-more": {"repetition_penalty": 0.6},
    "no-token-twice": {"no_repeat_ngram_size": 1},
    "no-pair-twice": {"no_repeat_ngram_size": 2},
    "no-triple-twice": {"no_repeat_ngram_size": 3, "min_decoding_length": 10},
    "bad-words": {"suppressed_ids": (PADDING, 1, 7)},
    "bad-sequences": {"suppress_sequences": ((PADDING, 2), (10, 5), (2, 4, 14), (7, END))},
    "begins": {"forced_bos_id": 9},
    "begins-with-a-bad-word": {"forced_bos_id": 9, "suppressed_ids": (PADDING, 9)},
    "prefix": {"target_prefix": (4, 9, 11)},
    "prefix-and-limits": {
        "target_prefix": (4, 9, 4),
        "min_decoding_length": 6,
        "max_decoding_length": 9,
        "forced_end_id": END,
        "early_stopping": "never",
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "suppress_sequences": ((9, 4, 7),),
    },
    "two-ends": {"end_ids": (END, OTHER_END)},
    "two-ends-at-least-5": {"end_ids": (END, OTHER_END), "min_decoding_length": 5},
}

# Every hypothesis of a vocabulary of 6 tokens fits in beams as wide as this.
WIDE: dict[str, Any] = {"beam_size": 4000, "num_hypotheses": 4000, "max_decoding_length": 4}

COMPLETE: dict[str, dict[str, Any]] = {
    "plain": {},
    "forced-end": {"forced_end_id": 0, "length_penalty": 0.6},
    "two-ends": {"end_ids": (0, 3), "min_decoding_length": 2},
    "one-token": {"max_decoding_length": 1},
    "coverage": {"coverage_penalty": 0.7},
    "coverage-of-a-prefix": {"coverage_penalty": 0.7, "target_prefix": (2,), "forced_end_id": 0},
    "few-are-kept": {"patience": 0.002, "early_stopping": "never", "length_penalty": 1.4},
    "few-are-kept-of-a-sum": {"patience": 0.002, "early_stopping": "never", "length_penalty": 0.0},
    "repeats-less": {"repetition_penalty": 1.6},
    "no-pair-twice": {"no_repeat_ngram_size": 2, "target_prefix": (1,), "max_decoding_length": 5},
    "bad-sequences": {"suppress_sequences": ((1, 2), (3, 1, 4), (2, 0)), "suppressed_ids": (5,)},
    "no-end": {"suppressed_ids": (0, 4)},
    "allowed": {"allowed_ids": (0, 2, 3, 5)},
    "begins": {"forced_bos_id": 3, "suppressed_ids": (3,)},
    "prefix": {"target_prefix": (4, 1), "max_decoding_length": 6},
    "biased": {"target_prefix": (4, 1), "prefix_bias_beta": 0.4},
    "biased-and-repeats-less": {
        "target_prefix": (4, 4, 1),
        "prefix_bias_beta": 0.8,
        "repetition_penalty": 1.4,
    },
    "factor": {"max_length_factor": 0.75, "max_decoding_length": 9, "forced_end_id": 0},
    "phrase": {"force_phrases": ((2, 1),)},
    "phrases": {"force_phrases": ((2,), (1, 1)), "max_decoding_length": 5, "forced_end_id": 0},
    "phrases-that-overlap": {"force_phrases": ((1, 2), (2, 3)), "max_decoding_length": 5},
    "phrase-begun-in-the-prefix": {
        "force_phrases": ((4, 1, 4),),
        "target_prefix": (3, 4),
        "max_decoding_length": 6,
    },
    "alternatives": {"return_alternatives": True, "num_hypotheses": 4},
    "alternatives-with-the-end": {
        "return_alternatives": True,
        "num_hypotheses": 6,
        "target_prefix": (2,),
        "forced_end_id": 0,
        "coverage_penalty": 0.3,
    },
    "probable-alternatives": {
        "return_alternatives": True,
        "num_hypotheses": 6,
        "min_alternative_expansion_prob": 0.15,
    },
}
