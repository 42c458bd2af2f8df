"""Sentences as tokens or ids, in lists and in streams: translated, scored, generated."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pytransformer.decoding import Decoding
from pytransformer.errors import OptionError
from pytransformer.inputs import Sentence, sentence_list, source_ids, target_ids
from pytransformer.option_rules import Integer
from pytransformer.pending import AsyncResult, CompletionWatcher, Hypothesis, Pending
from pytransformer.results import GenerationStepResult, ScoringResult, TranslationResult
from pytransformer.sentences import SentenceTranslator

T = TypeVar("T")

Callback = Callable[[GenerationStepResult], bool]
Prefixes = Iterable[Sentence | None]

# Sentences that a stream reads ahead for each worker, in batches.
_BATCHES_AHEAD = 2


class TokenBatches:
    """The doors of a translator that take tokens or ids."""

    def __init__(self, sentences: SentenceTranslator) -> None:
        self._sentences = sentences
        self._model = sentences.model

    def translate(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        arguments: Mapping[str, object],
    ) -> list[TranslationResult]:
        decoding = self._sentences.resolve(arguments)
        sources = self.source_ids(source)
        pending = self._submit(sources, self._prefixes(prefixes, len(sources)), decoding)
        return self._results(sources, pending.hypotheses(), decoding)

    def translate_async(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        arguments: Mapping[str, object],
        watcher: CompletionWatcher,
    ) -> list[AsyncResult[TranslationResult]]:
        decoding = self._sentences.resolve(arguments)
        sources = self.source_ids(source)
        targets = self._prefixes(prefixes, len(sources))
        return [
            self._async_result(ids, targets[i : i + 1], decoding, watcher)
            for i, ids in enumerate(sources)
        ]

    def _async_result(
        self,
        ids: list[int],
        target: Sequence[Sequence[int]],
        decoding: Decoding,
        watcher: CompletionWatcher,
    ) -> AsyncResult[TranslationResult]:
        pending = self._submit([ids], target, decoding)
        return AsyncResult(
            pending.job, lambda: self._results([ids], pending.hypotheses(), decoding)[0], watcher
        )

    def translate_with_callback(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        callback: Callback,
        arguments: Mapping[str, object],
    ) -> list[TranslationResult]:
        if not callable(callback):
            raise TypeError(f"callback is {type(callback).__name__}, expected a function")
        decoding = self._sentences.resolve(arguments)
        if decoding.options.beam_size != 1:
            raise OptionError(f"callback needs beam_size 1, not {decoding.options.beam_size}")
        decoding.search.stream = True
        sources = self.source_ids(source)
        pending = self._submit(sources, self._prefixes(prefixes, len(sources)), decoding)
        stopped: set[int] = set()
        try:
            for sentence, step in self._steps(pending, with_log_prob=True):
                if sentence in stopped:
                    continue
                if callback(step):
                    stopped.add(sentence)
                    assert pending.job is not None
                    pending.job.stop(sentence, step.step + 1)
        except BaseException:
            if pending.job is not None:
                pending.job.cancel()
            raise
        return self._results(sources, pending.hypotheses(), decoding)

    def translate_iterable(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        arguments: Mapping[str, Any],
        workers: int,
    ) -> Iterator[TranslationResult]:
        decoding = self._sentences.resolve(arguments)
        pairs = _pairs("source", source, "target_prefix", prefixes)

        def submit(group: Sequence[tuple[Any, Any]]) -> Callable[[], list[TranslationResult]]:
            sources = self.source_ids(pair[0] for pair in group)
            targets = self._prefixes((pair[1] for pair in group), len(group))
            pending = self._submit(sources, targets, decoding)
            return lambda: self._results(sources, pending.hypotheses(), decoding)

        return _ahead(pairs, submit, decoding.search.max_batch_size, workers)

    def score(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, object],
        offset: int,
    ) -> list[ScoringResult]:
        return self._submit_scoring(source, target, arguments, _offset(offset))()

    def score_async(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, object],
        offset: int,
        watcher: CompletionWatcher,
    ) -> list[AsyncResult[ScoringResult]]:
        offset = _offset(offset)
        sources, targets = sentence_list("source", source), sentence_list("target", target)
        _check_pairs(len(sources), len(targets))
        decoding = self._scoring(arguments)
        results = []
        for pair in zip(sources, targets, strict=True):
            pending, scored = self._pending_scores([pair[0]], [pair[1]], decoding, offset)
            results.append(AsyncResult(pending.job, functools.partial(_first, scored), watcher))
        return results

    def score_iterable(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, Any],
        workers: int,
    ) -> Iterator[ScoringResult]:
        arguments = dict(arguments)
        offset = _offset(arguments.pop("offset", 0))
        decoding = self._scoring(arguments)
        pairs = _pairs("source", source, "target", target)

        def submit(group: Sequence[tuple[Any, Any]]) -> Callable[[], list[ScoringResult]]:
            sources, targets = ([pair[i] for pair in group] for i in range(2))
            return self._pending_scores(sources, targets, decoding, offset)[1]

        return _ahead(pairs, submit, decoding.search.max_batch_size, workers)

    def generate_tokens(
        self,
        source: Sentence,
        prefix: Sentence | None,
        arguments: Mapping[str, object],
        with_log_prob: bool,
    ) -> Iterator[GenerationStepResult]:
        decoding = self._sentences.resolve(arguments)
        decoding.search.stream = True
        pending = self._submit(self.source_ids([source]), self._prefixes([prefix], 1), decoding)

        def steps() -> Iterator[GenerationStepResult]:
            try:
                for _, step in self._steps(pending, with_log_prob=with_log_prob):
                    yield step
                pending.hypotheses()  # raises what went wrong
            finally:
                if pending.job is not None:
                    pending.job.cancel()

        return steps()

    def source_ids(self, source: Iterable[Sentence]) -> list[list[int]]:
        """Ids of sentences, with their end token."""
        size = self._model.spec.encoder.vocab_size
        return [
            source_ids(f"source {i}", items, self._model.tokenizer, size)
            for i, items in enumerate(sentence_list("source", source))
        ]

    def _target_ids(self, name: str, sentences: Iterable[Sentence]) -> list[list[int]]:
        size = self._model.spec.decoder.vocab_size
        return [
            target_ids(f"{name} {i}", items, self._model.tokenizer, size)
            for i, items in enumerate(sentence_list(name, sentences))
        ]

    def _prefixes(self, prefixes: Prefixes | None, count: int) -> list[list[int]]:
        """One for each of `count` sources."""
        if prefixes is None:
            return [[] for _ in range(count)]
        if isinstance(prefixes, (str, bytes)) or not isinstance(prefixes, Iterable):
            raise TypeError(
                f"target_prefix is {type(prefixes).__name__}, expected lists of tokens or ids"
            )
        free: list[str] = []
        ids = self._target_ids("target_prefix", [free if p is None else p for p in prefixes])
        if len(ids) != count:
            raise OptionError(f"target_prefix has {len(ids)} prefixes for {count} sentences")
        return ids

    def _submit(
        self, sources: Sequence[list[int]], targets: Sequence[Sequence[int]], decoding: Decoding
    ) -> Pending:
        nothing = self._model.tokenizer.source_ids([])
        return self._sentences.submit(sources, decoding, nothing=nothing, targets=targets)

    def _results(
        self,
        sources: Sequence[list[int]],
        found: Sequence[Sequence[Hypothesis]],
        decoding: Decoding,
    ) -> list[TranslationResult]:
        tokens_of = self._model.tokenizer.source_tokens
        return [
            self._sentences.result(hypotheses, decoding, functools.partial(tokens_of, ids))
            for ids, hypotheses in zip(sources, found, strict=True)
        ]

    def _steps(
        self, pending: Pending, *, with_log_prob: bool
    ) -> Iterator[tuple[int, GenerationStepResult]]:
        """The tokens of a streaming job: which of the job's sentences, and the step."""
        names = pending.sentences
        tokens_of = self._model.tokenizer.target_tokens
        while pending.job is not None and (events := pending.job.events()):
            for event in events:
                if event.token < 0:
                    continue
                yield (
                    event.sentence,
                    GenerationStepResult(
                        step=event.step,
                        batch_id=names[event.sentence],
                        token_id=event.token,
                        hypothesis_id=0,
                        token=tokens_of([event.token])[0],
                        log_prob=event.log_prob if with_log_prob else None,
                        is_last=event.last,
                    ),
                )

    def _scoring(self, arguments: Mapping[str, object]) -> Decoding:
        decoding = self._sentences.resolve(arguments)
        decoding.search.score_targets = True
        return decoding

    def _submit_scoring(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, object],
        offset: int,
    ) -> Callable[[], list[ScoringResult]]:
        return self._pending_scores(source, target, self._scoring(arguments), offset)[1]

    def _pending_scores(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        decoding: Decoding,
        offset: int,
    ) -> tuple[Pending, Callable[[], list[ScoringResult]]]:
        sources = self.source_ids(source)
        targets = self._target_ids("target", target)
        _check_pairs(len(sources), len(targets))
        ends = decoding.search.end_token_ids
        targets = [ids if ids and ids[-1] in ends else [*ids, ends[0]] for ids in targets]
        # A source without content is scored as it is.
        pending = self._sentences.submit(sources, decoding, nothing=[], targets=targets)

        def results() -> list[ScoringResult]:
            return [
                ScoringResult(
                    self._model.tokenizer.target_tokens(ids[offset:]),
                    found[0].log_probs[offset:],
                    ids[offset:],
                )
                for ids, found in zip(targets, pending.hypotheses(), strict=True)
            ]

        return pending, results


def _first(results: Callable[[], list[T]]) -> T:
    return results()[0]


def _offset(offset: object) -> int:
    rule = Integer(0, 2**31 - 1)
    try:
        return rule.convert(offset)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"offset is {offset!r}, expected {rule.expected}") from None


def _check_pairs(sources: int, targets: int) -> None:
    if sources != targets:
        raise OptionError(f"there are {targets} targets for {sources} sources")


def _pairs(
    name: str, first: Iterable[Any], second_name: str, second: Iterable[Any] | None
) -> Iterator[tuple[Any, Any]]:
    """Items of both side by side; OptionError as soon as one ends before the other."""
    if second is None:
        yield from ((item, None) for item in first)
        return
    end = object()
    for pair in itertools.zip_longest(first, second, fillvalue=end):
        if pair[0] is end or pair[1] is end:
            shorter, longer = (name, second_name) if pair[0] is end else (second_name, name)
            raise OptionError(f"{shorter} ends before {longer}")
        yield pair


def _ahead(
    items: Iterator[Any],
    submit: Callable[[Sequence[Any]], Callable[[], list[T]]],
    size: int,
    workers: int,
) -> Iterator[T]:
    """Results in order; groups of items are submitted before those ahead of them are done."""
    waiting: deque[Callable[[], list[T]]] = deque()
    while True:
        while len(waiting) < _BATCHES_AHEAD * workers + 1:
            group = list(itertools.islice(items, size))
            if not group:
                break
            waiting.append(submit(group))
        if not waiting:
            return
        yield from waiting.popleft()()
