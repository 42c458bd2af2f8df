"""Batches of prompts, gone on with as CTranslate2 does it."""

from __future__ import annotations

from collections.abc import Sequence

from pytransformer.ctranslate2.arguments import Callback, GenerationOptions
from pytransformer.ctranslate2.batch_search import BatchSearch, Watch
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.ctranslate2.results import AsyncGenerationResult, GenerationResult
from pytransformer.ctranslate2.sentences import Sentence
from pytransformer.ctranslate2.storage_view import StorageView
from pytransformer.pending import Hypothesis


class BatchGeneration(BatchSearch[GenerationResult]):
    """One call of `generate_batch`."""

    _LATER = AsyncGenerationResult

    def __init__(
        self,
        model: LoadedModel,
        prompts: Sequence[list[str]],
        options: GenerationOptions,
        watch: Watch,
        callback: Callback | None = None,
    ) -> None:
        """Checks all of it, and queues nothing; raises ValueError for an empty prompt."""
        sentences = [_prepared(model, prompt, options) for prompt in prompts]
        super().__init__(model, sentences, options.of_search, watch, callback)
        self._includes_prompt = options.include_prompt_in_result

    def _result(self, index: int, found: list[Hypothesis] | None) -> GenerationResult:
        sentence = self._sentences[index]
        options = self._options
        # A begin token is no part of the text.
        begin = self._model.target_ids([self._model.conventions.bos_token])
        first = sentence.source_ids[-1:] if self._includes_prompt else []
        first = [] if first == begin else first
        if found is None:
            count = options.num_hypotheses
            ids = [[*first, *(sentence.done or [])] for _ in range(count)]
            scores = [0.0] * count
            ranked = []
        else:
            ranked = self._outcomes.ranked(found)
            ids = [[*first, *self._outcomes.without_end(one)] for _, one in ranked]
            scores = [score for score, _ in ranked]
        return GenerationResult(
            [self._model.target_tokens(one) for one in ids],
            ids,
            scores if options.return_scores else [],
            [self._logits(sentence, one) for _, one in ranked]
            if options.return_logits_vocab
            else [],
        )

    def _logits(self, sentence: Sentence, found: Hypothesis) -> list[StorageView]:
        """What the model gave at each step, those of the prompt that are in the result too."""
        steps = len(found.log_probs) + len(sentence.prefix_ids)
        read = [*sentence.source_ids, *found.ids]
        logits = self._model.sentences.engine.logits([], read)
        begin = len(sentence.source_ids) - 1
        return self._outcomes.views(logits[begin : begin + steps])


def _prepared(model: LoadedModel, prompt: list[str], options: GenerationOptions) -> Sentence:
    """A prompt that is read, or whose tokens behind the first one are generated again.

    In the latter case they count in lengths and scores.
    """
    ids = model.target_ids(prompt)
    if not ids:
        raise ValueError("One input has no decoder start token")
    start_id = model.sentences.model.generation.decoder_start_token_id
    static = model.target_ids(options.static_prompt or ())
    forced = ids[1:] if options.include_prompt_in_result else []
    read = [*static, *ids[: len(ids) - len(forced)]]
    done = forced[: options.max_length] if len(forced) >= options.max_length else None
    return Sentence([], [], read, forced, start_id, done)
