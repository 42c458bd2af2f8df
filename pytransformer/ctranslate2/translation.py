"""Batches of sentences, translated as CTranslate2 does it."""

from __future__ import annotations

from pytransformer.ctranslate2.batch_search import BatchSearch
from pytransformer.ctranslate2.results import AsyncTranslationResult, TranslationResult
from pytransformer.pending import Hypothesis


class BatchTranslation(BatchSearch[TranslationResult]):
    """One call of `translate_batch`."""

    _LATER = AsyncTranslationResult

    def _result(self, index: int, found: list[Hypothesis] | None) -> TranslationResult:
        sentence = self._sentences[index]
        if found is None:
            return self._outcomes.untranslated(sentence)
        return self._outcomes.translated(sentence, found)
