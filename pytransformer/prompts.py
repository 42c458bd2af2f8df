"""Prompts, as text, tokens or ids, and what a decoder alone goes on with behind them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace

from pytransformer.batches import Item, TokenBatches
from pytransformer.decoding import Decoding
from pytransformer.inputs import Sentence, check_sentences, check_unicode
from pytransformer.pending import Hypothesis, Pending
from pytransformer.results import GenerationResult
from pytransformer.scoring import Scorer
from pytransformer.sentences import SentenceTranslator
from pytransformer.streaming import LineStream, ending


class PromptBatches(TokenBatches[GenerationResult]):
    """The doors of a generator that take tokens or ids."""

    def __init__(self, sentences: SentenceTranslator, *, include_prompt: bool = False) -> None:
        super().__init__(sentences)
        self._include_prompt = include_prompt

    def source_ids(self, source: Iterable[Sentence], first: int = 0) -> list[list[int]]:
        """Ids of prompts as they are; an empty one is the start token."""
        start = self._model.generation.decoder_start_token_id
        return [ids or [start] for ids in self.target_ids("prompt", source, first)]

    def _submit(
        self, sources: Sequence[list[int]], targets: Sequence[Sequence[int]], decoding: Decoding
    ) -> Pending:
        return self.sentences.submit(sources, decoding, nothing=[], targets=targets)

    def _result(
        self, source: list[int], found: Sequence[Hypothesis], decoding: Decoding
    ) -> GenerationResult:
        tokens_of = self._model.tokenizer.target_tokens
        result = self.sentences.result(found, decoding, lambda: tokens_of(source))
        whole = GenerationResult(**vars(result))
        if not self._include_prompt:
            return whole
        prompt = tokens_of(source)
        return replace(
            whole,
            hypotheses=[[*prompt, *tokens] for tokens in whole.hypotheses],
            ids=[[*source, *ids] for ids in whole.ids],
        )


class PromptScorer(Scorer):
    """Scores texts, each token by those before it; the first one has no score."""

    def _both(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        decoding: Decoding,
        first: int = 0,
    ) -> tuple[list[list[int]], list[list[int]]]:
        ids = self._batches.source_ids(source, first)
        return [one[:1] for one in ids], [one[1:] for one in ids]

    def _items(
        self, source: Iterable[Sentence], target: Iterable[Sentence], decoding: Decoding
    ) -> Iterator[Item]:
        check_sentences("tokens", source)
        for index, sentence in enumerate(source):
            sources, targets = self._both([sentence], [], decoding, index)
            self._sentences.check(sources, targets, decoding, index)
            yield Item(index, sources[0], targets[0])


class TextPrompts:
    """Prompts as texts, and the texts that follow."""

    def __init__(
        self,
        sentences: SentenceTranslator,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        include_prompt: bool,
    ) -> None:
        self._sentences = sentences
        self._decoding = decoding
        self._tokenizer = sentences.model.tokenizer
        self._prompts = prompts
        self._include_prompt = include_prompt
        start = sentences.model.generation.decoder_start_token_id
        self._ids: list[list[int]] = []
        for index, prompt in enumerate(prompts):
            check_unicode(index, prompt)
            self._ids.append(self._tokenizer.encode_ids(prompt) or [start])

    def submit(self, *, stream: bool = False) -> Pending:
        """Queues the prompts; a job for :meth:`stream` tells of single tokens."""
        self._decoding.search.stream = stream
        return self._sentences.submit(self._ids, self._decoding, nothing=[])

    def join(self, hypotheses: Sequence[Sequence[Hypothesis]]) -> list[str]:
        """The best text of each prompt."""
        return [self._text(index, found[0].ids) for index, found in enumerate(hypotheses)]

    def stream(self, pending: Pending) -> Generator[str, None, None]:
        """Pieces of the text of a single prompt, as soon as they are certain.

        Closing ends the search.
        """
        return ending(self._stream(pending), pending.cancel)

    def _stream(self, pending: Pending) -> Iterator[str]:
        text = LineStream(
            lambda ids: self._text(0, ids),
            lambda text: text,
            prefix=self._sentences.forced_start([], self._decoding),
            by_words=True,
            by_tokens=True,
        )
        while events := pending.events():
            for event in events:
                text.add(event.step, event.token)
            if piece := text.take():
                yield piece
        (found,) = self.join(pending.hypotheses())
        if piece := text.finish(found):
            yield piece

    def _text(self, index: int, ids: Sequence[int]) -> str:
        """What follows a prompt, which may begin in the middle of a word."""
        prompt = self._ids[index]
        decode = self._tokenizer.decode
        text = decode([*prompt, *ids])[len(decode(prompt)) :]
        return self._prompts[index] + text if self._include_prompt else text
