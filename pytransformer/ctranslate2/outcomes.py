"""Hypotheses of the engine as CTranslate2's results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pytransformer.ctranslate2.arguments import TranslationOptions
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.ctranslate2.results import TranslationResult
from pytransformer.ctranslate2.sentences import Sentence
from pytransformer.ctranslate2.storage_view import StorageView
from pytransformer.decoding import Decoding
from pytransformer.pending import Hypothesis

_FORBIDDEN = np.finfo(np.float32).min


class Outcomes:
    """Makes results of the hypotheses that were found with one set of options."""

    def __init__(self, model: LoadedModel, options: TranslationOptions, decoding: Decoding) -> None:
        self._model = model
        self._options = options
        self._ends = frozenset(decoding.search.end_token_ids)
        self._decoding = decoding

    def untranslated(self, sentence: Sentence) -> TranslationResult:
        """The result of a sentence for which the model is not asked."""
        options = self._options
        tokens = self._model.target_tokens(sentence.done or [])
        rows = [[0.0] * len(sentence.source) for _ in tokens]
        count = options.num_hypotheses
        return TranslationResult(
            [list(tokens) for _ in range(count)],
            [0.0] * count if options.return_scores else [],
            [list(rows) for _ in range(count)] if options.return_attention else [],
        )

    def translated(self, sentence: Sentence, found: Sequence[Hypothesis]) -> TranslationResult:
        """The result of a sentence, from the hypotheses that the engine found."""
        options = self._options
        ranked = self.ranked(found)
        ids = [self.without_end(one) for _, one in ranked]
        attention = [
            self._attention(sentence, one)[: len(ids[i])] for i, (_, one) in enumerate(ranked)
        ]
        return TranslationResult(
            [self._tokens(sentence, ids[i], attention[i]) for i in range(len(ranked))],
            [score for score, _ in ranked] if options.return_scores else [],
            [rows.tolist() for rows in attention] if options.return_attention else [],
            [self._logits(sentence, one) for _, one in ranked]
            if options.return_logits_vocab
            else [],
        )

    def ranked(self, found: Sequence[Hypothesis]) -> list[tuple[float, Hypothesis]]:
        """Hypotheses with their scores: best first, or alternatives by their first token."""
        if self._options.return_alternatives:
            least = math.log(max(self._options.min_alternative_expansion_prob, 1e-38))
            likely = [one for one in found if one.log_probs[0] >= least]
            likely.sort(key=lambda one: -one.log_probs[0])
            return [(self._alternative_score(one), one) for one in likely]
        return [(one.score, one) for one in found]

    def _alternative_score(self, found: Hypothesis) -> float:
        """That of the first token, plus that of what follows it."""
        first, rest = found.log_probs[0], found.log_probs[1:]
        if not rest:
            return first
        return float(first + sum(rest) / len(rest) ** self._options.length_penalty)

    def without_end(self, found: Hypothesis) -> list[int]:
        """Its ids, without end tokens unless they were asked for."""
        ids = list(found.ids)
        while not self._options.return_end_token and ids and ids[-1] in self._ends:
            ids.pop()
        return ids

    def _attention(self, sentence: Sentence, found: Hypothesis) -> npt.NDArray[np.float32]:
        """Rows [tokens, source tokens], without those that were added to the source."""
        if found.attention is None:
            return np.zeros((0, 0), np.float32)
        conventions = self._model.conventions
        first = int(conventions.add_source_bos)
        last = found.attention.shape[1] - int(conventions.add_source_eos)
        kept = found.attention[:, first:last][:, : len(sentence.source)]
        missing = len(sentence.source) - kept.shape[1]  # where the source was cut
        return np.pad(kept, ((0, 0), (0, missing)))

    def _tokens(
        self, sentence: Sentence, ids: list[int], attention: npt.NDArray[np.float32]
    ) -> list[str]:
        tokens = self._model.target_tokens(ids)
        if not self._options.replace_unknowns:
            return tokens
        return [
            sentence.source[int(attention[i].argmax())]
            if token_id == self._model.unknown_id
            else tokens[i]
            for i, token_id in enumerate(ids)
        ]

    def _logits(self, sentence: Sentence, found: Hypothesis) -> list[StorageView]:
        """What the model gave at each step, with what was forbidden."""
        steps = len(found.log_probs) + self._unscored(sentence)
        read = [sentence.start_id, *found.ids][:steps]
        return self.views(self._model.sentences.engine.logits(sentence.source_ids, read))

    def views(self, logits: npt.NDArray[np.float32]) -> list[StorageView]:
        """The rows of logits [steps, vocabulary], in which the options forbid tokens."""
        least = self._options.min_decoding_length
        logits[:least, sorted(self._ends)] = _FORBIDDEN
        logits[:, sorted(self._decoding.search.suppress_token_ids)] = _FORBIDDEN
        return [StorageView(row) for row in logits]

    def _unscored(self, sentence: Sentence) -> int:
        """How many tokens are forced."""
        return 0 if self._options.prefix_bias_beta > 0 else len(sentence.prefix_ids)
