"""Given translations and texts, scored as CTranslate2 does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytransformer import _native
from pytransformer.ctranslate2.arguments import ScoringOptions
from pytransformer.ctranslate2.batch_search import Watch
from pytransformer.ctranslate2.errors import PositionError, as_ctranslate2
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.ctranslate2.results import AsyncScoringResult, ScoringResult
from pytransformer.errors import OptionError
from pytransformer.pending import AsyncResult, CompletionWatcher, Pending

_watcher = CompletionWatcher()


@dataclass(frozen=True)
class Pair:
    """What is to be scored.

    Attributes:
        source_ids: what is read before it: a source, or the first token of a text.
        start_id: what the decoder behind an encoder reads first.
        target_ids: the tokens to be scored, a translation's end token included.
        asked: whether the model is.
    """

    source_ids: list[int]
    start_id: int
    target_ids: list[int]
    asked: bool


def translation_pair(
    model: LoadedModel, source: list[str], target: list[str], max_length: int
) -> Pair:
    """A sentence and its translation, of each at most so many tokens unless it is 0."""
    source_ids = model.source_ids(source, max_length)
    ids = model.scored_ids(target, max_length)
    if model.start_id is None:
        # The first token of the target is the start token; a target without one has no score.
        start, rest = (ids[0], ids[1:]) if target else (-1, [])
    else:
        start, rest = model.start_id, ids[1:]
    return Pair(source_ids, start, rest, asked=bool(source_ids and rest))


def text_pair(model: LoadedModel, text: list[str], max_length: int) -> Pair:
    """A text for a decoder alone, of at most so many tokens unless it is 0."""
    ids = model.target_ids(text)[: max_length or None]
    start = model.sentences.model.generation.decoder_start_token_id
    return Pair(ids[:1], start, ids[1:], asked=len(ids) > 1)


class BatchScoring:
    """One call of `score_batch`."""

    def __init__(
        self,
        model: LoadedModel,
        pairs: Sequence[Pair],
        options: ScoringOptions,
        watch: Watch,
    ) -> None:
        self._model = model
        self._options = options
        self._watch = watch
        self._decoding = model.sentences.resolve(
            {"max_batch_size": options.max_batch_size, "batch_type": options.batch_type}
        )
        self._pairs = pairs

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

    def _submit(self, group: Sequence[int]) -> Pending:
        search = _native.SearchOptions(self._decoding.search)
        search.score_targets = True
        search.decoder_start_token_id = self._pairs[group[0]].start_id
        decoding = self._decoding._replace(search=search)
        try:
            pending = self._model.sentences.submit(
                [self._pairs[i].source_ids for i in group],
                decoding,
                nothing=[],
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
