"""CTranslate2's Generator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.ctranslate2.alone import model_path, open_decoder
from pytransformer.ctranslate2.arguments import (
    Callback,
    GenerationOptions,
    ScoringOptions,
    parse,
    token_lists,
    with_options,
)
from pytransformer.ctranslate2.batch_search import go_on
from pytransformer.ctranslate2.errors import PositionError, as_ctranslate2
from pytransformer.ctranslate2.forward import batch_inputs, padded
from pytransformer.ctranslate2.generation import BatchGeneration
from pytransformer.ctranslate2.iterables import stream
from pytransformer.ctranslate2.loaded_model import LoadedModel, as_directory
from pytransformer.ctranslate2.model_owner import ModelOwner
from pytransformer.ctranslate2.results import (
    AsyncGenerationResult,
    AsyncScoringResult,
    GenerationResult,
    GenerationStepResult,
    ScoringResult,
)
from pytransformer.ctranslate2.scoring import BatchScoring, text_pair
from pytransformer.ctranslate2.storage_view import StorageView

_NOT_FOR_STEPS = (
    "asynchronous", "beam_size", "patience", "num_hypotheses", "length_penalty",
    "return_end_token", "include_prompt_in_result", "return_scores", "return_logits_vocab",
    "return_alternatives", "min_alternative_expansion_prob",
)  # fmt: skip


class Generator(ModelOwner[LoadedModel]):
    """A language model with the methods, options and results of CTranslate2's.

    Example:
        >>> generator = ctranslate2.Generator("model/", device="cpu")
        >>> generator.generate_batch([["<|endoftext|>", "A", "Ġdog"]], max_length=20)
    """

    @property
    def num_generators(self) -> int:
        """Number of workers."""
        return self._threads.workers

    def _open(self) -> LoadedModel:
        with as_directory(self._path, self._files) as path, as_ctranslate2():
            return open_decoder(model_path(self._path, path), self._wanted_type, self._threads)

    @with_options(GenerationOptions)
    def generate_batch(
        self, start_tokens: list[list[str]], *, callback: Callback | None = None, **options: Any
    ) -> Any:
        """Goes on with a batch of prompts.

        Args:
            start_tokens: the tokens of each prompt.
            callback: is called for each token, with beam_size 1; ends that text if it returns True.
            **options: those of CTranslate2, see
                :class:`pytransformer.ctranslate2.arguments.GenerationOptions`. Where the prompt is
                included in the result, its tokens behind the first one count in lengths and scores.

        Returns:
            A list of :class:`GenerationResult`, or of :class:`AsyncGenerationResult` with
            `asynchronous`.

        Raises:
            TypeError: an unknown option, or an argument of a wrong type.
            ValueError: options that cannot be, or an empty prompt.
            RuntimeError: a prompt is longer than the model's positions, or the model was unloaded.
        """
        given = parse(GenerationOptions, "generate_batch", options)
        prompts = token_lists("start_tokens", start_tokens)
        if not prompts:
            return []
        given.check()
        given.of_search.check_callback(callback)
        batch = BatchGeneration(self._loaded(), prompts, given, self._queued.add, callback)
        return batch.async_results() if given.asynchronous else batch.results()

    def generate_iterable(
        self,
        start_tokens: Iterable[list[str]],
        max_batch_size: int = 32,
        batch_type: str = "examples",
        **options: Any,
    ) -> Iterator[GenerationResult]:
        """Yields what follows a stream of prompts, which is never held as a whole.

        Arguments as in :meth:`generate_batch`.
        """

        def submit(prompts: list[list[str]]) -> list[AsyncGenerationResult]:
            sizes = {"max_batch_size": max_batch_size, "batch_type": batch_type}
            found: list[AsyncGenerationResult] = self.generate_batch(
                prompts, **{**options, **sizes, "asynchronous": True}
            )
            return found

        yield from stream(submit, [start_tokens], max_batch_size, batch_type)

    @with_options(GenerationOptions, leaving=_NOT_FOR_STEPS)
    def generate_tokens(
        self,
        prompt: list[str] | list[list[str]],
        max_batch_size: int = 0,
        batch_type: str = "examples",
        *,
        return_log_prob: bool = False,
        callback: Callback | None = None,
        **options: Any,
    ) -> Iterator[GenerationStepResult]:
        """Yields the tokens that follow one or several prompts, by greedy search or drawn.

        The end token comes too. A generator that is closed early ends the search. Arguments as in
        :meth:`generate_batch`.
        """
        sizes = {"max_batch_size": max_batch_size, "batch_type": batch_type}
        yield from self._batch_of_steps(prompt, callback, {**options, **sizes}).steps(
            with_log_prob=return_log_prob
        )

    @with_options(GenerationOptions, leaving=_NOT_FOR_STEPS)
    async def async_generate_tokens(
        self,
        prompt: list[str] | list[list[str]],
        max_batch_size: int = 0,
        batch_type: str = "examples",
        *,
        return_log_prob: bool = False,
        callback: Callback | None = None,
        **options: Any,
    ) -> AsyncIterator[GenerationStepResult]:
        """As :meth:`generate_tokens`, for ``async for``."""
        sizes = {"max_batch_size": max_batch_size, "batch_type": batch_type}
        batch = self._batch_of_steps(prompt, callback, {**options, **sizes})
        async for step in batch.steps_async(with_log_prob=return_log_prob):
            yield step

    @with_options(ScoringOptions, leaving=("offset",))
    def score_batch(self, tokens: list[list[str]], **options: Any) -> Any:
        """Scores given texts, each token by those before it; the first one has no score.

        Args:
            tokens: the tokens of each text, with whatever begins and ends it.
            **options: those of CTranslate2, see
                :class:`pytransformer.ctranslate2.arguments.ScoringOptions`.

        Returns:
            A list of :class:`ScoringResult`, or of :class:`AsyncScoringResult` with
            `asynchronous`. Errors as in :meth:`generate_batch`.
        """
        given = parse(ScoringOptions, "score_batch", options)
        texts = token_lists("tokens", tokens)
        given.check()
        model = self._loaded()
        pairs = [text_pair(model, text, given.max_input_length) for text in texts]
        batch = BatchScoring(model, pairs, given, self._queued.add)
        return batch.async_results() if given.asynchronous else batch.results()

    def score_iterable(
        self,
        tokens: Iterable[list[str]],
        max_batch_size: int = 64,
        batch_type: str = "examples",
        **options: Any,
    ) -> Iterator[ScoringResult]:
        """Yields the scores of a stream of texts; arguments as in :meth:`score_batch`."""

        def submit(texts: list[list[str]]) -> list[AsyncScoringResult]:
            sizes = {"max_batch_size": max_batch_size, "batch_type": batch_type}
            found: list[AsyncScoringResult] = self.score_batch(
                texts, **{**options, **sizes, "asynchronous": True}
            )
            return found

        yield from stream(submit, [tokens], max_batch_size, batch_type)

    def forward_batch(
        self,
        inputs: Sequence[Sequence[str]] | Sequence[Sequence[int]] | StorageView,
        lengths: StorageView | None = None,
        *,
        return_log_probs: bool = False,
    ) -> StorageView:
        """The logits [inputs, longest, vocabulary] behind each token, zeros behind shorter inputs.

        Args:
            inputs: the tokens or ids of each input; or an array of ids [inputs, longest] (int32).
            lengths: how many ids of each row count [inputs] (int32), for such an array.
            return_log_probs: return log-probabilities.

        Raises:
            TypeError: an argument of a wrong type.
            ValueError: lengths that do not fit, an empty input, or an unknown id.
            RuntimeError: an input is longer than the model's positions, or the model was unloaded.
        """
        given = batch_inputs(inputs, lengths)
        model = self._loaded()
        ids = [_checked(model, index, one) for index, one in enumerate(given)]
        rows = [model.sentences.engine.logits([], one) for one in ids]
        if return_log_probs:
            rows = [_log_softmax(row) for row in rows]
        return padded(rows)

    def _batch_of_steps(
        self, prompt: Any, callback: Callback | None, options: dict[str, Any]
    ) -> BatchGeneration:
        is_single = len(prompt) > 0 and isinstance(prompt[0], str)
        prompts = token_lists("prompt", [prompt] if is_single else prompt)
        own = {"include_prompt_in_result": False}
        given = parse(GenerationOptions, "generate_tokens", {**options, **own})
        given.check()
        given.of_search.check_callback(callback)
        model = self._loaded()
        return BatchGeneration(model, prompts, given, self._queued.add, callback or go_on)


def _checked(model: LoadedModel, index: int, given: list[Any]) -> list[int]:
    """The ids of one input for the decoder."""
    if not given:
        raise ValueError(f"input {index} is empty")
    ids: list[int] = model.target_ids(given) if isinstance(given[0], str) else given
    size = model.sentences.limits.vocab_size
    for token_id in ids:
        if not 0 <= token_id < size:
            raise ValueError(f"input {index} holds the id {token_id}, expected 0 to {size - 1}")
    reach = model.sentences.limits.max_decoding_length
    if reach is not None and len(ids) > reach + 1:
        raise PositionError(
            f"No position encodings are defined for positions >= {reach + 1}: input {index} has "
            f"{len(ids)} tokens"
        )
    return ids


def _log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: npt.NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
