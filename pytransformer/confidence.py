"""How sure a model is of the words of a translation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytransformer.errors import OptionError
from pytransformer.words import Word, marked_words


@dataclass(frozen=True)
class WordConfidence:
    """A word, punctuation included, and what the model thinks of it.

    Attributes:
        word: the word.
        log_prob: its log-probability: the sum of those of its pieces.
        confidence: the geometric mean of its pieces' probabilities, 0 to 1, so that a word of many
            pieces does not look unsure for its length.
    """

    word: str
    log_prob: float
    confidence: float


def word_confidences(
    tokens: Sequence[str],
    log_probs: Sequence[float],
    *,
    end_token: str = "</s>",
    words: Sequence[Word] | None = None,
) -> list[WordConfidence]:
    """Groups pieces to words, and their log-probabilities with them.

    Args:
        tokens: those of a :class:`pytransformer.ScoringResult`, or of a hypothesis; that a prefix
            has no log-probabilities there must be seen to by the caller.
        log_probs: one for each token, and possibly one more, for an end token that `tokens` lacks.
        end_token: a last token that is no word.
        words: those of the tokens, as `Translator.tokenizer.words` gives them; None where tokens
            mark the space before a word.

    Raises:
        OptionError: there are more or fewer log-probabilities.
    """
    if len(log_probs) not in (len(tokens), len(tokens) + 1):
        raise OptionError(f"there are {len(log_probs)} log-probabilities for {len(tokens)} tokens")
    found = []
    for word in marked_words(tokens, end_token) if words is None else words:
        values = log_probs[word.pieces]
        total = math.fsum(values)
        found.append(WordConfidence(word.text, total, math.exp(total / len(values))))
    return found
