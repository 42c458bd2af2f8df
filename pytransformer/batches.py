"""Sentences as tokens or ids, in lists and in streams: translated and generated."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytransformer.decoding import Decoding
from pytransformer.errors import OptionError
from pytransformer.inputs import Sentence, check_sentences, sentence_list, source_ids, target_ids
from pytransformer.pending import AsyncResult, CompletionWatcher, Hypothesis, Pending
from pytransformer.readahead import groups, pairs, read_ahead
from pytransformer.results import GenerationStepResult, TranslationResult
from pytransformer.sentences import SentenceTranslator
from pytransformer.stopped import stopped_after
from pytransformer.streaming import ending

Result = TypeVar("Result")

Callback = Callable[[GenerationStepResult], bool]
Prefixes = Iterable[Sentence | None]


@dataclass(frozen=True)
class Item:
    """A sentence of a stream: its place, its source's ids, and a prefix or a given translation."""

    index: int
    source: list[int]
    target: list[int]


@dataclass(frozen=True)
class Group:
    """Sentences of a stream that were submitted together."""

    pending: Pending
    make_results: Callable[[], Sequence[Any]]

    def results(self) -> Sequence[Any]:
        return self.make_results()

    def cancel(self) -> None:
        self.pending.cancel()


class TokenBatches(ABC, Generic[Result]):
    """The doors of a translator or generator that take tokens or ids."""

    def __init__(self, sentences: SentenceTranslator) -> None:
        self.sentences = sentences
        self._model = sentences.model

    def translate(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        arguments: Mapping[str, object],
    ) -> list[Result]:
        decoding = self.sentences.resolve(arguments)
        sources = self.source_ids(source)
        pending = self._submit(sources, self._prefixes(prefixes, len(sources)), decoding)
        return self._results(sources, pending.hypotheses(), decoding)

    def translate_async(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        arguments: Mapping[str, object],
        watcher: CompletionWatcher,
    ) -> list[AsyncResult[Result]]:
        decoding = self.sentences.resolve(arguments)
        sources = self.source_ids(source)
        targets = self._prefixes(prefixes, len(sources))
        # Before the first one is at work.
        self.sentences.check(sources, targets, decoding)

        def begin(index: int) -> AsyncResult[Result]:
            ids = sources[index : index + 1]
            pending = self._submit(ids, targets[index : index + 1], decoding)
            return AsyncResult(
                pending, lambda: self._results(ids, pending.hypotheses(), decoding)[0], watcher
            )

        return [begin(index) for index in range(len(sources))]

    def translate_with_callback(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        callback: Callback,
        arguments: Mapping[str, object],
    ) -> list[Result]:
        if not callable(callback):
            raise TypeError(f"callback is {type(callback).__name__}, expected a function")
        decoding = self.sentences.resolve(arguments)
        if decoding.options.beam_size != 1:
            raise OptionError(f"callback needs beam_size 1, not {decoding.options.beam_size}")
        decoding.search.stream = True
        sources = self.source_ids(source)
        targets = self._prefixes(prefixes, len(sources))
        pending = self._submit(sources, targets, decoding)
        stops = self._call_back(pending, callback)
        found = pending.hypotheses()
        # The engine may have gone on for some steps, or to the end, before it was told.
        for index, tokens in stops.items():
            unscored = 0 if decoding.options.prefix_bias_beta > 0 else len(targets[index])
            found[index] = [
                stopped_after(
                    one,
                    tokens,
                    unscored,
                    decoding.options.length_penalty,
                    counts_prefix=decoding.options.beam_rule == "ctranslate2",
                )
                for one in found[index]
            ]
        return self._results(sources, found, decoding)

    def _call_back(self, pending: Pending, callback: Callback) -> dict[int, int]:
        """After how many tokens each sentence shall stop, of those that shall."""
        stops: dict[int, int] = {}
        try:
            for sentence, step in self._steps(pending, with_log_prob=True):
                if step.batch_id not in stops and callback(step):
                    stops[step.batch_id] = step.step + 1
                    assert pending.job is not None
                    pending.job.stop(sentence, step.step + 1)
        except BaseException:
            pending.cancel()
            raise
        return stops

    def translate_iterable(
        self,
        source: Iterable[Sentence],
        prefixes: Prefixes | None,
        arguments: Mapping[str, Any],
        workers: int,
    ) -> Iterator[Result]:
        decoding = self.sentences.resolve(arguments)
        check_sentences("source", source)
        if prefixes is not None:
            check_sentences("target_prefix", prefixes)
        items = self._items(source, prefixes, decoding)

        def submit(group: list[Item]) -> Group:
            sources = [item.source for item in group]
            pending = self._submit(sources, [item.target for item in group], decoding)
            return Group(pending, lambda: self._results(sources, pending.hypotheses(), decoding))

        return stream(items, decoding, submit, workers)

    def _items(
        self, source: Iterable[Sentence], prefixes: Prefixes | None, decoding: Decoding
    ) -> Iterator[Item]:
        both = (
            ((sentence, None) for sentence in source)
            if prefixes is None
            else pairs("source", source, "target_prefix", prefixes)
        )
        for index, (sentence, prefix) in enumerate(both):
            (source,) = self.source_ids([sentence], index)
            (target,) = self._prefixes([prefix], 1, index)
            self.sentences.check([source], [target], decoding, index)
            yield Item(index, source, target)

    def generate_tokens(
        self,
        source: Sentence,
        prefix: Sentence | None,
        arguments: Mapping[str, object],
        with_log_prob: bool,
    ) -> Generator[GenerationStepResult, None, None]:
        decoding = self.sentences.resolve(arguments)
        decoding.search.stream = True
        pending = self._submit(self.source_ids([source]), self._prefixes([prefix], 1), decoding)

        def steps() -> Iterator[GenerationStepResult]:
            for _, step in self._steps(pending, with_log_prob=with_log_prob):
                yield step
            pending.hypotheses()  # raises what went wrong

        return ending(steps(), pending.cancel)

    @abstractmethod
    def source_ids(self, source: Iterable[Sentence], first: int = 0) -> list[list[int]]:
        """Ids of what the model reads first; `first` is the number of the first sentence."""

    def target_ids(
        self, name: str, sentences: Iterable[Sentence], first: int = 0
    ) -> list[list[int]]:
        """Ids of target sentences as they are."""
        size = self._model.spec.decoder.vocab_size
        return [
            target_ids(f"{name} {i}", items, self._model.tokenizer, size)
            for i, items in enumerate(sentence_list(name, sentences, first), first)
        ]

    def _prefixes(self, prefixes: Prefixes | None, count: int, first: int = 0) -> list[list[int]]:
        """One for each of `count` sources."""
        if prefixes is None:
            return [[] for _ in range(count)]
        check_sentences("target_prefix", prefixes)
        free: list[str] = []
        given = [free if prefix is None else prefix for prefix in prefixes]
        ids = self.target_ids("target_prefix", given, first)
        if len(ids) != count:
            raise OptionError(f"target_prefix has {len(ids)} prefixes for {count} sentences")
        return ids

    def _submit(
        self, sources: Sequence[list[int]], targets: Sequence[Sequence[int]], decoding: Decoding
    ) -> Pending:
        nothing = self._model.tokenizer.source_ids([])
        return self.sentences.submit(sources, decoding, nothing=nothing, targets=targets)

    def _results(
        self,
        sources: Sequence[list[int]],
        found: Sequence[Sequence[Hypothesis]],
        decoding: Decoding,
    ) -> list[Result]:
        return [
            self._result(ids, hypotheses, decoding)
            for ids, hypotheses in zip(sources, found, strict=True)
        ]

    @abstractmethod
    def _result(self, source: list[int], found: Sequence[Hypothesis], decoding: Decoding) -> Result:
        """What comes of one sentence."""

    def _steps(
        self, pending: Pending, *, with_log_prob: bool
    ) -> Iterator[tuple[int, GenerationStepResult]]:
        """The tokens of a streaming job: which of the job's sentences, and the step."""
        names = pending.sentences
        tokens_of = self._model.tokenizer.target_tokens
        while events := pending.events():
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


class TranslationBatches(TokenBatches[TranslationResult]):
    """The doors of a translator."""

    def source_ids(self, source: Iterable[Sentence], first: int = 0) -> list[list[int]]:
        """Ids of sentences, with their end token; `first` is the number of the first of them."""
        size = self._model.spec.encoder.vocab_size
        return [
            source_ids(f"source {i}", items, self._model.tokenizer, size)
            for i, items in enumerate(sentence_list("source", source, first), first)
        ]

    def _result(
        self, source: list[int], found: Sequence[Hypothesis], decoding: Decoding
    ) -> TranslationResult:
        tokens_of = self._model.tokenizer.source_tokens
        return self.sentences.result(found, decoding, functools.partial(tokens_of, source))


def stream(
    items: Iterator[Item], decoding: Decoding, submit: Callable[[list[Item]], Group], workers: int
) -> Iterator[Any]:
    """Results of a stream of sentences; groups are as large as the engine's batches."""
    search = decoding.search
    grouped = groups(
        items,
        search.max_batch_size,
        lambda item: len(item.source) if search.batch_by_tokens else 1,
    )
    return read_ahead(grouped, submit, workers)
