"""What translations, scores and streams give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Why a translation ended: by an end token, at its longest length, because it said the same again
# and again, or because the caller stopped it.
FinishReason: TypeAlias = Literal["end", "length", "loop", "stop"]


@dataclass(frozen=True)
class TranslationResult:
    """The hypotheses of one sentence, best first. Lists have one entry for each.

    Attributes:
        hypotheses: tokens, without start token, and without end token unless
            ``return_end_token`` was set.
        scores: log-probability divided by the length to the power of the length penalty, with
            what penalties took from it (docs/decoding.md); empty unless ``return_scores`` was set.
        attention: [tokens, source tokens], where the model looked at when it chose a token; empty
            unless ``return_attention`` was set.
        logits: [tokens and end token, vocabulary], log-probabilities at each step; empty unless
            ``return_logits_vocab`` was set.
        ids: the ids of the tokens.
        log_probs: log-probability of each token, the end token included and the prefix not, as the
            model gives it; empty unless ``return_scores`` was set.
        finish_reasons: "end", "length", "loop" or "stop".
    """

    hypotheses: list[list[str]]
    scores: list[float] = field(default_factory=list)
    attention: list[npt.NDArray[np.float32]] = field(default_factory=list)
    logits: list[npt.NDArray[np.float32]] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    log_probs: list[list[float]] = field(default_factory=list)
    finish_reasons: list[FinishReason] = field(default_factory=list)


@dataclass(frozen=True)
class GenerationResult(TranslationResult):
    """What a model goes on with behind a prompt; of the prompt only what was asked for.

    The same as a TranslationResult, also by CTranslate2's names.
    """

    @property
    def sequences(self) -> list[list[str]]:
        """The tokens of each hypothesis."""
        return self.hypotheses

    @property
    def sequences_ids(self) -> list[list[int]]:
        """Their ids."""
        return self.ids


@dataclass(frozen=True)
class ScoredText:
    """One of several translations of a line, and its score (docs/decoding.md)."""

    text: str
    score: float


@dataclass(frozen=True)
class ScoringResult:
    """What a model thinks of a given translation.

    Attributes:
        tokens: the scored tokens: those of the target from the offset on, and the end token.
        log_probs: log-probability of each of them.
        ids: their ids.
    """

    tokens: list[str]
    log_probs: list[float]
    ids: list[int]

    @property
    def score(self) -> float:
        """The sum of the log-probabilities."""
        return sum(self.log_probs)

    @property
    def normalized_score(self) -> float:
        """The score by token, as a search with length_penalty 1 has it."""
        return self.score / max(1, len(self.log_probs))


@dataclass(frozen=True)
class GenerationStepResult:
    """One token of a translation, as soon as nothing can change it any more.

    Attributes:
        step: its place in the translation, counted from 0.
        batch_id: which sentence.
        token_id: its id.
        hypothesis_id: always 0, the best one.
        token: the token.
        log_prob: its log-probability.
        is_last: whether none follows (known only where no end token is waited for).
    """

    step: int
    batch_id: int
    token_id: int
    hypothesis_id: int
    token: str
    log_prob: float | None
    is_last: bool


@dataclass(frozen=True)
class ExecutionStats:
    """What a file took: sentences, tokens that were generated or scored, milliseconds."""

    num_examples: int
    num_tokens: int
    total_time_in_ms: float
