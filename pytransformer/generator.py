"""The generator: what users touch of models that go on with a text."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from pytransformer.decoding import DecodingLimits
from pytransformer.engine_owner import EngineOwner
from pytransformer.errors import OptionError
from pytransformer.inputs import Sentence, text_list
from pytransformer.model_spec import Checkpoint
from pytransformer.pending import AsyncResult
from pytransformer.prompts import PromptBatches, PromptScorer, TextPrompts
from pytransformer.results import GenerationResult, GenerationStepResult, ScoringResult
from pytransformer.sentences import SentenceTranslator
from pytransformer.settings import EngineSettings, check_settings
from pytransformer.streaming import in_event_loop

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Generator(EngineOwner):
    """Goes on with texts by one model; its methods may be called from several threads at once.

    What follows a prompt does not depend on the prompts beside it, on the batch size or on the
    number of threads. Calls that run at the same time share batches. A generator can be pickled, by
    its path and settings, and used in forked processes.

    Options are those of :class:`pytransformer.options.TranslationOptions`, but for those that look
    at a source. Lengths count the tokens behind the prompt; together with it they end where the
    model's positions do.

    Example:
        >>> generator = pytransformer.Generator("gpt2")
        >>> generator.generate("A dog runs through", max_decoding_length=4)
        ' the streets of the'
    """

    _ARCHITECTURE = "decoder"

    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint,
        *,
        compute_type: str = "default",
        inter_threads: int = 1,
        intra_threads: int = 0,
        max_memory: int = 0,
    ) -> None:
        """Opens a model.

        Args:
            model: path of a checkpoint (docs/checkpoints.md) or of a native model file, or what a
                loader has read.
            compute_type: number format of the weights, as in :class:`pytransformer.Translator`.
            inter_threads: how many workers generate in parallel; they share the weights.
            intra_threads: threads of each worker; 0 shares out the cores that this process may use.
            max_memory: bytes that the work may take, as in :class:`pytransformer.Translator`.

        Raises:
            CheckpointError: the model cannot be read; names the file and what would be right.
            UnsupportedModelError: it is no decoder alone, or none that the engine computes.
            OptionError: an unknown compute type or an impossible number of threads.
        """
        settings = check_settings(
            EngineSettings,
            compute_type=compute_type,
            inter_threads=inter_threads,
            intra_threads=intra_threads,
            max_memory=max_memory,
        )
        super().__init__(model, settings)
        self._sentences = SentenceTranslator(self._model, self._engine, None)
        self._batches = PromptBatches(self._sentences)
        self._with_prompts = PromptBatches(self._sentences, include_prompt=True)
        self._scorer = PromptScorer(self._batches)

    @property
    def limits(self) -> DecodingLimits:
        """What the model says about options: defaults and bounds."""
        return self._sentences.limits

    @overload
    def generate(self, prompts: str, **arguments: Any) -> str: ...

    @overload
    def generate(self, prompts: Iterable[str], **arguments: Any) -> list[str]: ...

    def generate(
        self,
        prompts: str | Iterable[str],
        *,
        include_prompt_in_result: bool = False,
        **options: Any,
    ) -> str | list[str]:
        """The text that follows a prompt, or the texts that follow several.

        Args:
            prompts: a string, or strings in any iterable; an empty one is the start token.
            include_prompt_in_result: put the prompt before what follows.
            **options: see :class:`pytransformer.options.TranslationOptions`. The best hypothesis
                is returned, whatever `num_hypotheses` is.

        Raises:
            TypeError: `prompts` is not text.
            ValueError: a string holds a lone surrogate, so it is no Unicode text.
            OptionError: one or more options are wrong.
            InputLengthError: a prompt leaves no position for what follows.
        """
        texts = self._texts(prompts, include_prompt_in_result, options)
        found = texts.join(texts.submit().hypotheses())
        return found[0] if isinstance(prompts, str) else found

    @overload
    def generate_async(self, prompts: str, **arguments: Any) -> AsyncResult[str]: ...

    @overload
    def generate_async(
        self, prompts: Iterable[str], **arguments: Any
    ) -> AsyncResult[list[str]]: ...

    def generate_async(
        self,
        prompts: str | Iterable[str],
        *,
        include_prompt_in_result: bool = False,
        **options: Any,
    ) -> AsyncResult[Any]:
        """As :meth:`generate`, but returns at once; ``await`` what it returns.

        Prompts that are asked for one after another join the batch that is running.
        """
        texts = self._texts(prompts, include_prompt_in_result, options)
        pending = texts.submit()

        def make_result() -> str | list[str]:
            found = texts.join(pending.hypotheses())
            return found[0] if isinstance(prompts, str) else found

        return AsyncResult(pending, make_result, self._watcher)

    def generate_stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """Yields what follows a prompt piece by piece, each as soon as it is certain.

        All pieces together are what :meth:`generate` returns. Arguments and errors as there; they
        are checked at once. A stream that is closed early ends the search.
        """
        texts = self._single(prompt, options)
        return texts.stream(texts.submit(stream=True))

    def generate_stream_async(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        """As :meth:`generate_stream`, for ``async for``.

        A task that is cancelled while it waits for a piece ends the search.
        """
        texts = self._single(prompt, options)
        pending = texts.submit(stream=True)
        return in_event_loop(texts.stream(pending), pending.cancel)

    @overload
    def generate_batch(
        self, start_tokens: Any, *, asynchronous: Literal[False] = ..., **options: Any
    ) -> list[GenerationResult]: ...

    @overload
    def generate_batch(
        self, start_tokens: Any, *, asynchronous: Literal[True], **options: Any
    ) -> list[AsyncResult[GenerationResult]]: ...

    def generate_batch(
        self,
        start_tokens: Iterable[Sentence],
        *,
        include_prompt_in_result: bool = False,
        callback: Callable[[GenerationStepResult], bool] | None = None,
        asynchronous: bool = False,
        **options: Any,
    ) -> list[GenerationResult] | list[AsyncResult[GenerationResult]]:
        """Goes on with prompts given as tokens or ids, which are read as they are.

        Args:
            start_tokens: the tokens (str) or ids of each prompt; ids in a list or a NumPy array.
                An empty one is the start token.
            include_prompt_in_result: put the prompt's tokens before those that follow. Lengths,
                scores and logits never count them.
            callback: called for each token as soon as nothing can change it; ends that text if it
                returns True. Needs beam_size 1.
            asynchronous: return an :class:`AsyncResult` for each prompt at once.
            **options: see :class:`pytransformer.options.TranslationOptions`.

        Returns:
            One :class:`GenerationResult` (or AsyncResult of it) for each prompt, in order.
        """
        batches = self._with_prompts if include_prompt_in_result else self._batches
        if callback is not None:
            if asynchronous:
                raise OptionError("callback does not go with asynchronous")
            return batches.translate_with_callback(start_tokens, None, callback, options)
        if asynchronous:
            return batches.translate_async(start_tokens, None, options, self._watcher)
        return batches.translate(start_tokens, None, options)

    def generate_iterable(
        self,
        start_tokens: Iterable[Sentence],
        max_batch_size: int = 32,
        batch_type: Literal["examples", "tokens"] = "examples",
        *,
        include_prompt_in_result: bool = False,
        **options: Any,
    ) -> Iterator[GenerationResult]:
        """Yields what follows a stream of prompts; arguments as in :meth:`generate_batch`."""
        options = {**options, "max_batch_size": max_batch_size, "batch_type": batch_type}
        batches = self._with_prompts if include_prompt_in_result else self._batches
        return batches.translate_iterable(start_tokens, None, options, self.inter_threads)

    def generate_tokens(
        self, prompt: Sentence, *, return_log_prob: bool = False, **options: Any
    ) -> Iterator[GenerationStepResult]:
        """Yields the tokens that follow a prompt as soon as nothing can change them.

        With beam search they come in groups, whenever all hypotheses agree on them. A generator
        that is closed early ends the search.
        """
        return self._batches.generate_tokens(prompt, None, options, return_log_prob)

    @overload
    def score_batch(
        self,
        tokens: Iterable[Sentence],
        *,
        max_batch_size: int = ...,
        batch_type: Literal["examples", "tokens"] = ...,
        offset: int = ...,
        asynchronous: Literal[False] = ...,
    ) -> list[ScoringResult]: ...

    @overload
    def score_batch(
        self,
        tokens: Iterable[Sentence],
        *,
        max_batch_size: int = ...,
        batch_type: Literal["examples", "tokens"] = ...,
        offset: int = ...,
        asynchronous: Literal[True],
    ) -> list[AsyncResult[ScoringResult]]: ...

    def score_batch(
        self,
        tokens: Iterable[Sentence],
        *,
        max_batch_size: int = 0,
        batch_type: Literal["examples", "tokens"] = "examples",
        offset: int = 0,
        asynchronous: bool = False,
    ) -> list[ScoringResult] | list[AsyncResult[ScoringResult]]:
        """Scores given texts, each token by those that stand before it; the first has no score.

        The log-probabilities are those that a search gives the same tokens, bit for bit.

        Args:
            tokens: the tokens or ids of each text as they are, with whatever begins and ends it.
            max_batch_size: as in :meth:`generate_batch`, like the next one.
            batch_type: what it counts.
            offset: leave the first so many scored tokens out of the result.
            asynchronous: return an :class:`AsyncResult` for each text at once.

        Returns:
            One :class:`ScoringResult` (or AsyncResult of it) for each text, in order.
        """
        options = {"max_batch_size": max_batch_size, "batch_type": batch_type}
        if asynchronous:
            return self._scorer.score_async(tokens, (), options, offset, self._watcher)
        return self._scorer.score(tokens, (), options, offset)

    def score_iterable(
        self,
        tokens: Iterable[Sentence],
        max_batch_size: int = 64,
        batch_type: Literal["examples", "tokens"] = "examples",
        *,
        offset: int = 0,
    ) -> Iterator[ScoringResult]:
        """Yields the scores of a stream of texts; arguments as in :meth:`score_batch`."""
        options = {"max_batch_size": max_batch_size, "batch_type": batch_type}
        return self._scorer.score_iterable(tokens, (), options, offset, self.inter_threads)

    def forward_batch(self, tokens: Iterable[Sentence]) -> list[npt.NDArray[np.float32]]:
        """The logits [tokens, vocabulary] that follow each token of each text."""
        return [self._engine.logits([], ids) for ids in self._batches.source_ids(tokens)]

    def _single(self, prompt: str, options: Mapping[str, Any]) -> TextPrompts:
        if not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, expected a string")
        given = dict(options)
        return self._texts(prompt, given.pop("include_prompt_in_result", False), given)

    def _texts(
        self, prompts: str | Iterable[str], include_prompt: bool, options: Mapping[str, Any]
    ) -> TextPrompts:
        texts = [prompts] if isinstance(prompts, str) else text_list(prompts)
        decoding = self._sentences.resolve(options)
        return TextPrompts(self._sentences, texts, decoding, include_prompt=include_prompt)
