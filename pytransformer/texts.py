"""Texts cut into the lines that are translated, and put together again."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pytransformer.decoding import Decoding
from pytransformer.errors import OptionError
from pytransformer.glossary import Glossary, GlossaryLine, GlossaryMode, check_mode
from pytransformer.inputs import check_unicode, text_list
from pytransformer.pending import Hypothesis, Pending
from pytransformer.results import ScoredText
from pytransformer.sentences import SentenceTranslator
from pytransformer.streaming import LineStream, ending


class TextOptions(NamedTuple):
    """What is asked of a text besides the options of decoding."""

    src_lang: str | None = None
    tgt_lang: str | None = None
    target_prefix: str | None = None
    glossary: Glossary | None = None


class TextBatch:
    r"""Texts of which every line is a sentence; every "\n" stays where it is."""

    def __init__(
        self,
        translator: SentenceTranslator,
        texts: Sequence[str],
        asked: TextOptions,
        decoding: Decoding,
    ) -> None:
        """Cuts and encodes; raises what the tokenizer raises for an unknown language."""
        self._translator = translator
        self._decoding = decoding
        self._tokenizer = translator.model.tokenizer
        self._texts = texts
        self._has_glossary = asked.glossary is not None
        self._lines: list[GlossaryLine] = []
        self._ids: list[list[int]] = []
        self._owners: list[int] = []
        # An unknown language ends here, even if there is no text.
        self._nothing = translator.nothing(asked.src_lang, asked.tgt_lang)
        for owner, text in enumerate(texts):
            check_unicode(owner, text)
            for line in text.split("\n"):
                self._add(line, owner, asked)
        self._prefix: list[int] = []
        if asked.target_prefix:
            self._prefix = translator.target_ids(asked.target_prefix, decoding)

    def submit(self, *, stream: bool = False) -> Pending:
        """Queues the lines; a job for :meth:`stream` tells of single tokens."""
        self._decoding.search.stream = stream
        phrases = None
        if self._has_glossary:
            phrases = [[self._phrase_ids(found) for found in line.phrases] for line in self._lines]
        return self._translator.submit(
            self._ids,
            self._decoding,
            nothing=self._nothing,
            owners=self._owners,
            targets=[self._prefix] * len(self._ids) if self._prefix else None,
            phrases=phrases,
        )

    def join(self, hypotheses: Sequence[Sequence[Hypothesis]]) -> list[str]:
        """The texts, made of the best hypothesis of each line."""
        lines = [self._text(index, found[0]) for index, found in enumerate(hypotheses)]
        texts, first = [], 0
        for text in self._texts:
            end = first + text.count("\n") + 1
            texts.append("\n".join(lines[first:end]))
            first = end
        return texts

    def scored(self, hypotheses: Sequence[Sequence[Hypothesis]]) -> list[list[ScoredText]]:
        """All hypotheses of each line, as text."""
        return [
            [ScoredText(self._text(index, one), one.score) for one in found]
            for index, found in enumerate(hypotheses)
        ]

    def stream(self, pending: Pending) -> Generator[str, None, None]:
        """Pieces of the texts, one behind another, as soon as they are certain.

        Lines come in order; what comes of the others meanwhile waits. Closing ends the search.
        """
        return ending(self._stream(pending), pending.cancel)

    def _stream(self, pending: Pending) -> Generator[str, None, None]:
        names = pending.sentences
        lines = {index: self._line_stream(index) for index in names}
        current = 0
        while events := pending.events():
            for event in events:
                lines[names[event.sentence]].add(event.step, event.token)
            while current < len(self._ids):
                line = lines.get(current)
                if piece := self._ending(current) if line is None else line.take():
                    yield piece
                if line is not None and not line.done:
                    break
                current += 1
                if current < len(self._ids):
                    yield "\n"
        texts = [self._text(i, found[0]) for i, found in enumerate(pending.hypotheses())]
        for index in range(current, len(texts)):
            line = lines.get(index)
            if piece := texts[index] if line is None else line.finish(texts[index]):
                yield piece
            if index + 1 < len(texts):
                yield "\n"

    def _line_stream(self, index: int) -> LineStream:
        """Words are certain one by one unless something is put in their place at the end."""
        line = self._lines[index]
        return LineStream(
            lambda ids: _one_line(self._tokenizer.decode(ids)),
            lambda text: self._completed(index, text),
            prefix=self._translator.forced_start(self._prefix, self._decoding),
            by_words=not line.placeholders,
            by_tokens=not self._decoding.options.replace_unknowns,
        )

    def _add(self, line: str, owner: int, asked: TextOptions) -> None:
        if asked.glossary is None:
            found = GlossaryLine(line)
        else:
            found = asked.glossary.apply(
                line, self._tokenizer, src_lang=asked.src_lang, tgt_lang=asked.tgt_lang
            )
        self._lines.append(found)
        self._ids.append(
            self._tokenizer.encode_ids(
                found.source, src_lang=asked.src_lang, tgt_lang=asked.tgt_lang
            )
            if line.strip()
            else self._nothing
        )
        self._owners.append(owner)

    def _text(self, index: int, best: Hypothesis) -> str:
        """The translation of a line, as one line that ends as its source does."""
        ids = best.ids
        replaces = self._decoding.options.replace_unknowns
        if replaces and self._translator.limits.unknown_id() in ids:
            tokens = self._translator.tokens(
                best, self._decoding, lambda: self._tokenizer.source_tokens(self._ids[index])
            )
            # With return_end_token; `decode` leaves it out by itself.
            ends = self._decoding.search.end_token_ids
            if ids[-1] in ends and not self._tokenizer.decode(ids[-1:]):
                tokens.pop()
            text = self._tokenizer.decode_tokens(tokens)
        else:
            text = self._tokenizer.decode(ids)
        return self._completed(index, text)

    def _completed(self, index: int, text: str) -> str:
        if self._has_glossary:
            text = self._lines[index].restored(text)
        return _one_line(text) + self._ending(index)

    def _ending(self, index: int) -> str:
        r"""What a line keeps of "\r\n"."""
        return "\r" if self._lines[index].source.endswith("\r") else ""

    def _phrase_ids(self, phrase: str) -> list[int]:
        limits = self._translator.limits
        ids = limits.text_ids(phrase)
        if not ids or limits.unknown_id() in ids:
            raise OptionError(
                f"glossary: the model's vocabulary cannot spell {phrase!r}; use glossary_mode "
                "placeholders"
            )
        return ids


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


def text_batch(
    translator: SentenceTranslator,
    text: str | Iterable[str],
    *,
    src_lang: str | None = None,
    tgt_lang: str | None = None,
    target_prefix: str | None = None,
    glossary: Mapping[str, str] | None = None,
    glossary_mode: GlossaryMode = "phrases",
    **options: Any,
) -> TextBatch:
    """Checks what a caller gives with a text or texts; see `Translator.translate`."""
    texts = [text] if isinstance(text, str) else text_list(text)
    if target_prefix is not None and not isinstance(target_prefix, str):
        raise TypeError(f"target_prefix is {type(target_prefix).__name__}, expected a string")
    check_mode(glossary_mode)
    terms = None if glossary is None else Glossary(glossary, glossary_mode)
    decoding = translator.into_language(translator.resolve(options), tgt_lang, options)
    if terms is not None and decoding.draws:
        raise OptionError("glossary does not go with sampling")
    asked = TextOptions(src_lang, tgt_lang, target_prefix, terms)
    return TextBatch(translator, texts, asked, decoding)
