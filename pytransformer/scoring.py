"""Given translations, in lists and in streams: scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytransformer.batches import Group, Item, TokenBatches, stream
from pytransformer.decoding import Decoding
from pytransformer.errors import OptionError
from pytransformer.inputs import Sentence, check_sentences
from pytransformer.option_rules import Integer
from pytransformer.pending import AsyncResult, CompletionWatcher, Pending
from pytransformer.readahead import pairs
from pytransformer.results import ScoringResult

_OFFSET = Integer(0, 2**31 - 1)


class Scorer:
    """The doors of a translator that score."""

    def __init__(self, batches: TokenBatches[Any]) -> None:
        self._batches = batches
        self._sentences = batches.sentences
        self._tokenizer = batches.sentences.model.tokenizer

    def score(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, object],
        offset: int,
    ) -> list[ScoringResult]:
        offset, decoding = _offset(offset), self._resolve(arguments)
        sources, targets = self._both(source, target, decoding)
        pending = self._submit(sources, targets, decoding)
        return self._results(targets, pending, offset)

    def score_async(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, object],
        offset: int,
        watcher: CompletionWatcher,
    ) -> list[AsyncResult[ScoringResult]]:
        offset, decoding = _offset(offset), self._resolve(arguments)
        sources, targets = self._both(source, target, decoding)
        # Before the first one is at work.
        self._sentences.check(sources, targets, decoding)

        def begin(index: int) -> AsyncResult[ScoringResult]:
            given = targets[index : index + 1]
            pending = self._submit(sources[index : index + 1], given, decoding)
            return AsyncResult(pending, lambda: self._results(given, pending, offset)[0], watcher)

        return [begin(index) for index in range(len(sources))]

    def score_iterable(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        arguments: Mapping[str, object],
        offset: int,
        workers: int,
    ) -> Iterator[ScoringResult]:
        offset, decoding = _offset(offset), self._resolve(arguments)
        check_sentences("source", source)
        check_sentences("target", target)

        def submit(group: list[Item]) -> Group:
            targets = [item.target for item in group]
            pending = self._submit([item.source for item in group], targets, decoding)
            return Group(pending, lambda: self._results(targets, pending, offset))

        return stream(self._items(source, target, decoding), decoding, submit, workers)

    def _items(
        self, source: Iterable[Sentence], target: Iterable[Sentence], decoding: Decoding
    ) -> Iterator[Item]:
        for index, pair in enumerate(pairs("source", source, "target", target)):
            sources, targets = self._both([pair[0]], [pair[1]], decoding, index)
            self._sentences.check(sources, targets, decoding, index)
            yield Item(index, sources[0], targets[0])

    def _resolve(self, arguments: Mapping[str, object]) -> Decoding:
        decoding = self._sentences.resolve(arguments)
        decoding.search.score_targets = True
        return decoding

    def _both(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        decoding: Decoding,
        first: int = 0,
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Ids of sources and targets, with their end tokens."""
        sources = self._batches.source_ids(source, first)
        targets = self._batches.target_ids("target", target, first)
        if len(sources) != len(targets):
            raise OptionError(f"there are {len(targets)} targets for {len(sources)} sources")
        ends = decoding.search.end_token_ids
        return sources, [ids if ids and ids[-1] in ends else [*ids, ends[0]] for ids in targets]

    def _submit(
        self, sources: Sequence[list[int]], targets: Sequence[list[int]], decoding: Decoding
    ) -> Pending:
        # A source without content is scored as it is.
        return self._sentences.submit(sources, decoding, nothing=[], targets=targets)

    def _results(
        self, targets: Sequence[list[int]], pending: Pending, offset: int
    ) -> list[ScoringResult]:
        return [
            ScoringResult(
                self._tokenizer.target_tokens(ids[offset:]),
                found[0].log_probs[offset:],
                ids[offset:],
            )
            for ids, found in zip(targets, pending.hypotheses(), strict=True)
        ]


def _offset(offset: object) -> int:
    try:
        return _OFFSET.convert(offset)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"offset is {offset!r}, expected {_OFFSET.expected}") from None
