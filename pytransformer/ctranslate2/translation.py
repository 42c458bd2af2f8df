"""Batches of sentences, translated as CTranslate2 does it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from pytransformer.background import start_thread
from pytransformer.ctranslate2.arguments import Callback, TranslationOptions
from pytransformer.ctranslate2.errors import as_ctranslate2
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.ctranslate2.outcomes import Outcomes
from pytransformer.ctranslate2.results import (
    AsyncTranslationResult,
    GenerationStepResult,
    TranslationResult,
)
from pytransformer.ctranslate2.sentences import Searches, prepare
from pytransformer.pending import AsyncResult, CompletionWatcher, Hypothesis, Pending
from pytransformer.stopped import stopped_after
from pytransformer.streaming import ending

T = TypeVar("T")
Watch = Callable[[Pending], None]

_watcher = CompletionWatcher()


class BatchTranslation:
    """One call of `translate_batch`."""

    def __init__(
        self,
        model: LoadedModel,
        sources: Sequence[list[str]],
        prefixes: Sequence[list[str]],
        options: TranslationOptions,
        watch: Watch,
        callback: Callback | None = None,
    ) -> None:
        """Checks all of it, and queues nothing.

        Args:
            model: what translates.
            sources: tokens of each sentence.
            prefixes: as many lists of tokens with which their translations begin.
            options: checked options.
            watch: is told of all that is queued.
            callback: is told of each token, and ends its sentence by returning True.
        """
        self._model = model
        self._options = options
        self._watch = watch
        self._callback = callback
        self._searches = Searches(model, options, stream=callback is not None)
        self._outcomes = Outcomes(model, options, self._searches.decoding)
        pairs = zip(sources, prefixes, strict=True)
        self._sentences = [prepare(model, source, prefix, options) for source, prefix in pairs]

    def results(self) -> list[TranslationResult]:
        """Waits for all results."""
        with as_ctranslate2():
            if self._callback is not None:
                return self._with_callback()
            queued = [
                (group, self._submit(group)) for group in self._searches.groups(self._sentences)
            ]
            found: dict[int, list[Hypothesis]] = {}
            for group, pending in queued:
                found.update(zip(group, pending.hypotheses(), strict=True))
        return [self._result(i, found.get(i)) for i in range(len(self._sentences))]

    def async_results(self) -> list[AsyncTranslationResult]:
        """Queues all sentences and returns at once."""
        if self._callback is not None:
            future = in_background(self.results)
            return [_item(future, i) for i in range(len(self._sentences))]
        with as_ctranslate2():
            return [self._async_result(i) for i in range(len(self._sentences))]

    def steps(self, *, with_log_prob: bool) -> Generator[GenerationStepResult, None, None]:
        """The tokens of a single sentence, as soon as they are generated."""
        (sentence,) = self._sentences
        if sentence.done is not None:
            return ending(iter(()), lambda: None)
        with as_ctranslate2():
            pending = self._submit([0])

        def run() -> Iterator[GenerationStepResult]:
            for _, step in self._steps(_Job([0], 0, pending), with_log_prob=with_log_prob):
                yield step
            pending.hypotheses()  # raises what went wrong

        return ending(run(), pending.cancel)

    def _submit(self, group: Sequence[int]) -> Pending:
        pending = self._searches.submit([self._sentences[i] for i in group])
        self._watch(pending)
        return pending

    def _result(self, index: int, found: list[Hypothesis] | None) -> TranslationResult:
        sentence = self._sentences[index]
        if found is None:
            return self._outcomes.untranslated(sentence)
        return self._outcomes.translated(sentence, found)

    def _async_result(self, index: int) -> AsyncTranslationResult:
        if self._sentences[index].done is not None:
            ready = self._result(index, None)
            return AsyncTranslationResult(lambda: ready, lambda: True)
        pending = self._submit([index])

        def make() -> TranslationResult:
            with as_ctranslate2():
                return self._result(index, pending.hypotheses()[0])

        later = AsyncResult(pending, make, _watcher)
        return AsyncTranslationResult(later.result, later.done)

    def _with_callback(self) -> list[TranslationResult]:
        """Tells the callback of each token, and ends the samples for which it returns True."""
        groups = self._searches.groups(self._sentences)
        samples = range(self._options.num_hypotheses)
        jobs = [_Job(group, n, self._submit(group)) for group in groups for n in samples]
        found: dict[int, list[Hypothesis]] = {i: [] for group in groups for i in group}
        try:
            for job in jobs:
                for index, hypothesis in zip(job.group, self._call_back(job), strict=True):
                    found[index].append(hypothesis)
        except BaseException:
            for job in jobs:
                job.pending.cancel()
            raise
        return [self._result(i, found.get(i)) for i in range(len(self._sentences))]

    def _call_back(self, job: _Job) -> list[Hypothesis]:
        """Runs a job to its end, or to where the callback wants it to end."""
        callback = self._callback
        assert callback is not None
        assert job.pending.job is not None
        stops: dict[int, int] = {}
        for place, step in self._steps(job, with_log_prob=self._options.return_scores):
            if place not in stops and callback(step):
                stops[place] = step.step + 1
                job.pending.job.stop(place, step.step + 1)
        found = [hypotheses[0] for hypotheses in job.pending.hypotheses()]
        # The engine may have gone on for some steps, or to the end, before it was told.
        for place, tokens in stops.items():
            prefix = len(self._sentences[job.group[place]].prefix_ids)
            penalty = self._options.length_penalty
            found[place] = stopped_after(found[place], tokens, prefix, penalty, counts_prefix=True)
        return found

    def _steps(
        self, job: _Job, *, with_log_prob: bool
    ) -> Iterator[tuple[int, GenerationStepResult]]:
        """Tokens as they come, those of prefixes first; with the place of each one's sentence."""
        for place, index in enumerate(job.group):
            for step, token_id in enumerate(self._sentences[index].prefix_ids):
                log_prob = 0.0 if with_log_prob else None
                yield place, self._step(job, place, step, token_id, log_prob, is_last=False)
        while events := job.pending.events():
            for event in events:
                if event.token >= 0:
                    log_prob = event.log_prob if with_log_prob else None
                    yield (
                        event.sentence,
                        self._step(
                            job,
                            event.sentence,
                            event.step,
                            event.token,
                            log_prob,
                            is_last=event.last,
                        ),
                    )

    def _step(
        self,
        job: _Job,
        place: int,
        step: int,
        token_id: int,
        log_prob: float | None,
        *,
        is_last: bool,
    ) -> GenerationStepResult:
        return GenerationStepResult(
            step=step,
            batch_id=job.group[place],
            token_id=token_id,
            hypothesis_id=job.sample,
            token=self._model.target_tokens([token_id])[0],
            log_prob=log_prob,
            logits=None,
            is_last=is_last,
        )


def _item(results: Future[list[TranslationResult]], index: int) -> AsyncTranslationResult:
    return AsyncTranslationResult(lambda: results.result()[index], results.done)


@dataclass(frozen=True)
class _Job:
    """Sentences that were queued together, each for one sample."""

    group: Sequence[int]
    sample: int
    pending: Pending


def in_background(make: Callable[[], T]) -> Future[T]:
    """Calls a function in a thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            future.set_exception(error)

    start_thread(run, lambda: None)
    return future
