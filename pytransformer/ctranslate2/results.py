"""What CTranslate2's calls return."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pytransformer.ctranslate2.storage_view import StorageView

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class TranslationResult:
    """The hypotheses of one sentence, best first; the other lists have one entry for each, or none.

    Attributes:
        hypotheses: tokens, those of the target prefix included.
        scores: log-probability by length ** length_penalty; empty unless `return_scores`.
        attention: for each token its row over the source tokens; empty unless `return_attention`.
        logits: of each step, one for each token of the vocabulary; empty unless
            `return_logits_vocab`.
    """

    hypotheses: list[list[str]]
    scores: list[float] = field(default_factory=list)
    attention: list[list[list[float]]] = field(default_factory=list)
    logits: list[list[StorageView]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.hypotheses)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A hypothesis as a dictionary, as CTranslate2 1.x returned it."""
        warnings.warn(
            "reading a TranslationResult as a list of dictionaries is deprecated, use its "
            "attributes",
            DeprecationWarning,
            stacklevel=2,
        )
        if not 0 <= index < len(self.hypotheses):
            raise IndexError(f"there are {len(self.hypotheses)} hypotheses, none is {index}")
        hypothesis: dict[str, Any] = {"tokens": self.hypotheses[index]}
        if self.scores:
            hypothesis["score"] = self.scores[index]
        if self.attention:
            hypothesis["attention"] = self.attention[index]
        return hypothesis


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """What follows one prompt, best first; the last two lists have one entry for each, or none.

    Attributes:
        sequences: tokens, behind those of the prompt if it was to be included.
        sequences_ids: their ids.
        scores: log-probability by length ** length_penalty; empty unless `return_scores`.
        logits: of each step, one for each token of the vocabulary; empty unless
            `return_logits_vocab`.
    """

    sequences: list[list[str]]
    sequences_ids: list[list[int]]
    scores: list[float] = field(default_factory=list)
    logits: list[list[StorageView]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class EncoderForwardOutput:
    """What an encoder gives for a batch.

    Attributes:
        last_hidden_state: [inputs, longest, d_model], with zeros behind shorter inputs.
        pooler_output: [inputs, pooler_size], or None if the model has no pooler.
    """

    last_hidden_state: StorageView
    pooler_output: StorageView | None


@dataclass(frozen=True, eq=False)
class ScoringResult:
    """The tokens of a given text, a translation's end token included, and their log-probabilities.

    The first token of a text without a source has none, and is left out.
    """

    tokens: list[str]
    log_probs: list[float]


@dataclass(frozen=True, eq=False)
class GenerationStepResult:
    """One token that greedy search or sampling has generated.

    Attributes:
        step: its place, counted from 0; tokens of a target prefix count too, and those of a prompt
            but for the first one if it is included in the result.
        batch_id: which sentence of the call.
        token_id: its id.
        hypothesis_id: which sample of that sentence.
        token: the token.
        log_prob: its log-probability, or None where scores were not asked for.
        logits: always None.
        is_last: whether none follows.
    """

    step: int
    batch_id: int
    token_id: int
    hypothesis_id: int
    token: str
    log_prob: float | None
    logits: StorageView | None
    is_last: bool


@dataclass(frozen=True, eq=False)
class ExecutionStats:
    """What a file took."""

    num_tokens: int
    num_examples: int
    total_time_in_ms: float


class AsyncOutcome(Generic[T]):
    """A result that may not be there yet."""

    def __init__(self, wait: Callable[[], T], is_done: Callable[[], bool]) -> None:
        self._wait = wait
        self._is_done = is_done

    def done(self) -> bool:
        """Whether :meth:`result` would return at once."""
        return self._is_done()

    def result(self) -> T:
        """Waits for the result; raises what went wrong."""
        return self._wait()


class AsyncTranslationResult(AsyncOutcome[TranslationResult]):
    """A translation that may not be there yet."""


class AsyncGenerationResult(AsyncOutcome[GenerationResult]):
    """What follows a prompt, which may not be there yet."""


class AsyncScoringResult(AsyncOutcome[ScoringResult]):
    """A score that may not be there yet."""
