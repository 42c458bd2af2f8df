"""Given translations, scored as CTranslate2 does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pytransformer import _native
from pytransformer.ctranslate2.arguments import ScoringOptions
from pytransformer.ctranslate2.errors import PositionError, as_ctranslate2
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.ctranslate2.results import AsyncScoringResult, ScoringResult
from pytransformer.ctranslate2.translation import Watch
from pytransformer.errors import OptionError
from pytransformer.pending import AsyncResult, CompletionWatcher, Pending

_watcher = CompletionWatcher()


@dataclass(frozen=True)
class _Pair:
    source_ids: list[int]
    start_id: int
    target_ids: list[int]  # with the end token
    asked: bool  # whether the model is


class BatchScoring:
    """One call of `score_batch`."""

    def __init__(
        self,
        model: LoadedModel,
        sources: Sequence[list[str]],
        targets: Sequence[list[str]],
        options: ScoringOptions,
        watch: Watch,
    ) -> None:
        self._model = model
        self._options = options
        self._watch = watch
        self._decoding = model.sentences.resolve(
            {"max_batch_size": options.max_batch_size, "batch_type": options.batch_type}
        )
        both = zip(sources, targets, strict=True)
        self._pairs = [self._pair(source, target) for source, target in both]

    def results(self) -> list[ScoringResult]:
        """Waits for all results."""
        starts = {pair.start_id for pair in self._pairs if pair.asked}
        found: dict[int, list[float]] = {}
        with as_ctranslate2():
            queued = []
            for start in starts:
                group = [
                    i for i, one in enumerate(self._pairs) if one.asked and one.start_id == start
                ]
                queued.append((group, self._submit(group)))
            for group, pending in queued:
                for i, (one,) in zip(group, pending.hypotheses(), strict=True):
                    found[i] = one.log_probs
        return [self._result(i, found.get(i)) for i in range(len(self._pairs))]

    def async_results(self) -> list[AsyncScoringResult]:
        """Queues all pairs and returns at once."""
        with as_ctranslate2():
            return [self._async_result(i) for i in range(len(self._pairs))]

    def _pair(self, source: list[str], target: list[str]) -> _Pair:
        most = self._options.max_input_length
        source_ids = self._model.source_ids(source, most)
        ids = self._model.scored_ids(target, most)
        if self._model.start_id is None:
            # The first token of the target is the start token; a target without one has no score.
            start, rest = (ids[0], ids[1:]) if target else (-1, [])
        else:
            start, rest = self._model.start_id, ids[1:]
        return _Pair(source_ids, start, rest, asked=bool(source_ids and rest))

    def _submit(self, group: Sequence[int]) -> Pending:
        search = _native.SearchOptions(self._decoding.search)
        search.score_targets = True
        search.decoder_start_token_id = self._pairs[group[0]].start_id
        decoding = dataclasses.replace(self._decoding, search=search)
        try:
            pending = self._model.sentences.submit(
                [self._pairs[i].source_ids for i in group],
                decoding,
                nothing=(),
                targets=[self._pairs[i].target_ids for i in group],
            )
        except OptionError as error:
            raise PositionError(str(error)) from error
        self._watch(pending)
        return pending

    def _result(self, index: int, log_probs: list[float] | None) -> ScoringResult:
        ids = self._pairs[index].target_ids
        offset = self._options.offset
        found = [0.0] * len(ids) if log_probs is None else log_probs
        return ScoringResult(self._model.target_tokens(ids)[offset:], found[offset:])

    def _async_result(self, index: int) -> AsyncScoringResult:
        if not self._pairs[index].asked:
            ready = self._result(index, None)
            return AsyncScoringResult(lambda: ready, lambda: True)
        pending = self._submit([index])

        def make() -> ScoringResult:
            with as_ctranslate2():
                return self._result(index, pending.hypotheses()[0][0].log_probs)

        later = AsyncResult(pending, make, _watcher)
        return AsyncScoringResult(later.result, later.done)
