"""Batches of sentences or prompts on their way through a search, as CTranslate2 does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pytransformer.background import start_thread
from pytransformer.ctranslate2.arguments import Callback, TranslationOptions
from pytransformer.ctranslate2.errors import as_ctranslate2
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.ctranslate2.outcomes import Outcomes
from pytransformer.ctranslate2.results import AsyncOutcome, GenerationStepResult
from pytransformer.ctranslate2.sentences import Searches, Sentence
from pytransformer.pending import AsyncResult, CompletionWatcher, Hypothesis, Pending
from pytransformer.stopped import stopped_after
from pytransformer.streaming import ending, in_event_loop

R = TypeVar("R")
T = TypeVar("T")
Watch = Callable[[Pending], None]

_watcher = CompletionWatcher()


class BatchSearch(Generic[R]):
    """One call of `translate_batch` or `generate_batch`."""

    # What asynchronous calls give.
    _LATER: ClassVar[type[AsyncOutcome[Any]]]

    def __init__(
        self,
        model: LoadedModel,
        sentences: Sequence[Sentence],
        options: TranslationOptions,
        watch: Watch,
        callback: Callback | None = None,
    ) -> None:
        """Checks all of it, and queues nothing.

        Args:
            model: what searches.
            sentences: what is given to it.
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
        self._sentences = sentences

    def results(self) -> list[R]:
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

    def async_results(self) -> list[AsyncOutcome[R]]:
        """Queues all sentences and returns at once."""
        if self._callback is not None:
            future = in_background(self.results)
            return [self._item(future, i) for i in range(len(self._sentences))]
        with as_ctranslate2():
            return [self._async_result(i) for i in range(len(self._sentences))]

    def steps(self, *, with_log_prob: bool) -> Generator[GenerationStepResult, None, None]:
        """The tokens, as soon as they are generated, until the callback ends their sentence."""
        jobs = self._jobs(1)
        return ending(self._told(jobs, with_log_prob=with_log_prob), lambda: _cancel(jobs))

    def steps_async(self, *, with_log_prob: bool) -> AsyncGenerator[GenerationStepResult, None]:
        """As :meth:`steps`, without blocking the event loop."""
        jobs = self._jobs(1)
        steps = ending(self._told(jobs, with_log_prob=with_log_prob), lambda: _cancel(jobs))
        return in_event_loop(steps, lambda: _cancel(jobs))

    def _jobs(self, samples: int) -> list[_Job]:
        """Queues all sentences that have to be searched, each for so many samples."""
        groups = self._searches.groups(self._sentences)
        with as_ctranslate2():
            return [_Job(group, n, self._submit(group)) for group in groups for n in range(samples)]

    def _told(self, jobs: Sequence[_Job], *, with_log_prob: bool) -> Iterator[GenerationStepResult]:
        for job in jobs:
            yield from self._heard(job, {}, with_log_prob=with_log_prob)
            job.pending.hypotheses()  # raises what went wrong

    def _submit(self, group: Sequence[int]) -> Pending:
        pending = self._searches.submit([self._sentences[i] for i in group])
        self._watch(pending)
        return pending

    def _result(self, index: int, found: list[Hypothesis] | None) -> R:
        """The result of a sentence; `found` is None if the model was not asked."""
        raise NotImplementedError

    def _async_result(self, index: int) -> AsyncOutcome[R]:
        if self._sentences[index].done is not None:
            ready = self._result(index, None)
            return self._LATER(lambda: ready, lambda: True)
        pending = self._submit([index])

        def make() -> R:
            with as_ctranslate2():
                return self._result(index, pending.hypotheses()[0])

        later = AsyncResult(pending, make, _watcher)
        return self._LATER(later.result, later.done)

    def _item(self, results: Future[list[R]], index: int) -> AsyncOutcome[R]:
        return self._LATER(lambda: results.result()[index], results.done)

    def _with_callback(self) -> list[R]:
        """Tells the callback of each token, and ends the samples for which it returns True."""
        jobs = self._jobs(self._options.num_hypotheses)
        found: dict[int, list[Hypothesis]] = {i: [] for job in jobs for i in job.group}
        try:
            for job in jobs:
                for index, hypothesis in zip(job.group, self._call_back(job), strict=True):
                    found[index].append(hypothesis)
        except BaseException:
            _cancel(jobs)
            raise
        return [self._result(i, found.get(i)) for i in range(len(self._sentences))]

    def _call_back(self, job: _Job) -> list[Hypothesis]:
        """Runs a job to its end, or to where the callback wants it to end."""
        stops: dict[int, int] = {}
        for _ in self._heard(job, stops, with_log_prob=self._options.return_scores):
            pass
        found = [hypotheses[0] for hypotheses in job.pending.hypotheses()]
        # The engine may have gone on for some steps, or to the end, before it was told.
        for place, tokens in stops.items():
            prefix = len(self._sentences[job.group[place]].prefix_ids)
            penalty = self._options.length_penalty
            found[place] = stopped_after(found[place], tokens, prefix, penalty, counts_prefix=True)
        return found

    def _heard(
        self, job: _Job, stops: dict[int, int], *, with_log_prob: bool
    ) -> Iterator[GenerationStepResult]:
        """Steps, of each of which the callback is told; puts into `stops` where it ends places."""
        callback = self._callback
        assert callback is not None
        assert job.pending.job is not None
        for place, step in self._steps(job, with_log_prob=with_log_prob):
            if place in stops:
                continue
            if callback(step):
                stops[place] = step.step + 1
                job.pending.job.stop(place, step.step + 1)
            yield step

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


@dataclass(frozen=True)
class _Job:
    """Sentences that were queued together, each for one sample."""

    group: Sequence[int]
    sample: int
    pending: Pending


def _cancel(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.pending.cancel()


def go_on(step: GenerationStepResult) -> bool:
    """A callback that ends nothing."""
    return False


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
