"""The translator: what most users touch."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from pytransformer import files
from pytransformer.errors import OptionError
from pytransformer.glossary import GlossaryMode
from pytransformer.inputs import InputLengthError, Sentence, check_unicode, text_list
from pytransformer.pending import AsyncResult
from pytransformer.results import (
    ExecutionStats,
    GenerationStepResult,
    ScoredText,
    ScoringResult,
    TranslationResult,
)
from pytransformer.settings import SETTINGS, THREADS, TranslatorSettings
from pytransformer.streaming import in_event_loop
from pytransformer.texts import TextBatch, text_batch
from pytransformer.translation_owner import TranslationOwner

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytransformer.attention import AttentionMaps

__all__ = ["SETTINGS", "THREADS", "InputLengthError", "Translator", "TranslatorSettings"]


class Translator(TranslationOwner):
    """Translates text with one model; its methods may be called from several threads at once.

    A sentence's translation does not depend on the sentences beside it, on the batch size or on
    the number of threads. Calls that run at the same time share batches. A translator can be
    pickled, by its path and settings, and used in forked processes.

    Example:
        >>> translator = pytransformer.Translator()
        >>> translator.translate("Ein Hund läuft durch den Schnee.", tgt_lang="en")
        'A dog runs through the snow.'
    """

    @overload
    def translate(self, text: str, **arguments: Any) -> str: ...

    @overload
    def translate(self, text: Iterable[str], **arguments: Any) -> list[str]: ...

    def translate(
        self,
        text: str | Iterable[str],
        *,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        target_prefix: str | None = None,
        glossary: Mapping[str, str] | None = None,
        glossary_mode: GlossaryMode = "phrases",
        **options: Any,
    ) -> str | list[str]:
        r"""Translates text: a string to a string, several strings to a list of as many.

        A string is translated line by line: every "\n" in it stays where it is, and a line that is
        empty or holds only white space becomes an empty line.

        Args:
            text: a string, or strings in any iterable.
            src_lang: language of the text, where the model must be told; see `source_languages`.
            tgt_lang: language to translate into, where the model has a choice; see
                `target_languages`.
            target_prefix: how every line's translation begins; it is part of the result.
            glossary: how terms of the source, as whole words, are to be translated.
            glossary_mode: "phrases" makes each term's translation come somewhere in the result;
                "placeholders" has the model carry a placeholder to the term's place.
            **options: see :class:`pytransformer.options.TranslationOptions`. The best hypothesis
                is returned, whatever `num_hypotheses` is.

        Raises:
            TypeError: `text` is not text.
            ValueError: a string holds a lone surrogate, so it is no Unicode text.
            OptionError: one or more options are wrong, or a language is not the model's.
            InputLengthError: a line is longer than the model's positions and may not be cut.
        """
        batch = text_batch(
            self._sentences,
            text,
            src_lang=src_lang,
            tgt_lang=tgt_lang,
            target_prefix=target_prefix,
            glossary=glossary,
            glossary_mode=glossary_mode,
            **options,
        )
        found = batch.join(batch.submit().hypotheses())
        return found[0] if isinstance(text, str) else found

    def translate_n_best(self, lines: Iterable[str], **arguments: Any) -> list[list[ScoredText]]:
        """The `num_hypotheses` best translations of each line, with their scores, best first.

        Arguments and errors as in :meth:`translate`; a line that holds several is an OptionError.
        """
        texts = text_list([lines] if isinstance(lines, str) else lines)
        for index, text in enumerate(texts):
            if "\n" in text:
                raise OptionError(f"line {index} holds a newline, expected single lines")
        batch = text_batch(self._sentences, texts, **{**arguments, "return_scores": True})
        return batch.scored(batch.submit().hypotheses())

    @overload
    def translate_async(self, text: str, **arguments: Any) -> AsyncResult[str]: ...

    @overload
    def translate_async(self, text: Iterable[str], **arguments: Any) -> AsyncResult[list[str]]: ...

    def translate_async(self, text: str | Iterable[str], **arguments: Any) -> AsyncResult[Any]:
        """As :meth:`translate`, but returns at once; ``await`` what it returns.

        Texts that are asked for one after another join the batch that is running, so many single
        ones take about as long as one call with all of them.
        """
        batch = text_batch(self._sentences, text, **arguments)
        pending = batch.submit()

        def make_result() -> str | list[str]:
            found = batch.join(pending.hypotheses())
            return found[0] if isinstance(text, str) else found

        return AsyncResult(pending, make_result, self._watcher)

    def translate_stream(self, text: str, **arguments: Any) -> Iterator[str]:
        """Yields the translation of a text piece by piece, each as soon as it is certain.

        With beam search that is the part on which all hypotheses agree that may still win. All
        pieces together are what :meth:`translate` returns. Arguments and errors as there; they are
        checked at once. A stream that is closed early ends the search.
        """
        batch = self._single_text(text, arguments)
        return batch.stream(batch.submit(stream=True))

    def translate_stream_async(self, text: str, **arguments: Any) -> AsyncIterator[str]:
        """As :meth:`translate_stream`, for ``async for``.

        A task that is cancelled while it waits for a piece ends the search.
        """
        batch = self._single_text(text, arguments)
        pending = batch.submit(stream=True)
        return in_event_loop(batch.stream(pending), pending.cancel)

    @overload
    def translate_batch(
        self,
        source: Any,
        target_prefix: Any = ...,
        *,
        asynchronous: Literal[False] = ...,
        **options: Any,
    ) -> list[TranslationResult]: ...

    @overload
    def translate_batch(
        self, source: Any, target_prefix: Any = ..., *, asynchronous: Literal[True], **options: Any
    ) -> list[AsyncResult[TranslationResult]]: ...

    def translate_batch(
        self,
        source: Iterable[Sentence],
        target_prefix: Iterable[Sentence | None] | None = None,
        *,
        callback: Callable[[GenerationStepResult], bool] | None = None,
        asynchronous: bool = False,
        **options: Any,
    ) -> list[TranslationResult] | list[AsyncResult[TranslationResult]]:
        """Translates sentences given as tokens or ids.

        The source's end token is added unless a sentence has it already; tokens that the vocabulary
        lacks become ``<unk>``. A sentence with no tokens but the end token gets empty hypotheses,
        of score 0, as in CTranslate2.

        Args:
            source: the tokens (str) or ids of each sentence; ids in a list or a NumPy array.
            target_prefix: how each translation begins, likewise; None for those that are free.
            callback: called for each token as soon as nothing can change it; ends that sentence if
                it returns True. Needs beam_size 1.
            asynchronous: return an :class:`AsyncResult` for each sentence at once.
            **options: see :class:`pytransformer.options.TranslationOptions`.

        Returns:
            One :class:`TranslationResult` (or AsyncResult of it) for each sentence, in order.

        Raises:
            TypeError: `source` is not made of lists of tokens.
            OptionError: one or more options are wrong.
            InputLengthError: a sentence is longer than the model's positions and may not be cut.
        """
        if callback is not None:
            if asynchronous:
                raise OptionError("callback does not go with asynchronous")
            return self._batches.translate_with_callback(source, target_prefix, callback, options)
        if asynchronous:
            return self._batches.translate_async(source, target_prefix, options, self._watcher)
        return self._batches.translate(source, target_prefix, options)

    def translate_iterable(
        self,
        source: Iterable[Sentence],
        target_prefix: Iterable[Sentence | None] | None = None,
        max_batch_size: int = 32,
        batch_type: Literal["examples", "tokens"] = "examples",
        **options: Any,
    ) -> Iterator[TranslationResult]:
        """Yields the translations of a stream of sentences, which is never held as a whole.

        Sentences are read ahead, so that all workers are busy. Arguments as in
        :meth:`translate_batch`.
        """
        options = {**options, "max_batch_size": max_batch_size, "batch_type": batch_type}
        return self._batches.translate_iterable(source, target_prefix, options, self.inter_threads)

    def translate_file(
        self,
        source_path: str | os.PathLike[str],
        output_path: str | os.PathLike[str],
        target_path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> ExecutionStats:
        """Translates a file line by line; see :func:`pytransformer.files.translate_file`."""
        return files.translate_file(self, source_path, output_path, target_path, **options)

    @overload
    def score_batch(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        *,
        max_batch_size: int = ...,
        batch_type: Literal["examples", "tokens"] = ...,
        max_input_length: int = ...,
        offset: int = ...,
        asynchronous: Literal[False] = ...,
    ) -> list[ScoringResult]: ...

    @overload
    def score_batch(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        *,
        max_batch_size: int = ...,
        batch_type: Literal["examples", "tokens"] = ...,
        max_input_length: int = ...,
        offset: int = ...,
        asynchronous: Literal[True],
    ) -> list[AsyncResult[ScoringResult]]: ...

    def score_batch(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        *,
        max_batch_size: int = 0,
        batch_type: Literal["examples", "tokens"] = "examples",
        max_input_length: int = 0,
        offset: int = 0,
        asynchronous: bool = False,
    ) -> list[ScoringResult] | list[AsyncResult[ScoringResult]]:
        """Scores given translations.

        The log-probabilities are those that a search gives the same tokens, bit for bit.

        Args:
            source: the tokens or ids of each sentence.
            target: those of its translation; the end token is added unless it is there.
            max_batch_size: as in :meth:`translate_batch`, like the next two.
            batch_type: what it counts.
            max_input_length: cut longer sources; 0 cuts nothing.
            offset: leave the first so many target tokens out of the result.
            asynchronous: return an :class:`AsyncResult` for each sentence at once.

        Returns:
            One :class:`ScoringResult` (or AsyncResult of it) for each sentence, in order.
        """
        options = {
            "max_batch_size": max_batch_size,
            "batch_type": batch_type,
            "max_input_length": max_input_length,
        }
        if asynchronous:
            return self._scorer.score_async(source, target, options, offset, self._watcher)
        return self._scorer.score(source, target, options, offset)

    def score_iterable(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        max_batch_size: int = 64,
        batch_type: Literal["examples", "tokens"] = "examples",
        *,
        max_input_length: int = 0,
        offset: int = 0,
    ) -> Iterator[ScoringResult]:
        """Yields the scores of a stream of sentence pairs; arguments as in :meth:`score_batch`."""
        options = {
            "max_batch_size": max_batch_size,
            "batch_type": batch_type,
            "max_input_length": max_input_length,
        }
        return self._scorer.score_iterable(source, target, options, offset, self.inter_threads)

    def score_file(
        self,
        source_path: str | os.PathLike[str],
        target_path: str | os.PathLike[str],
        output_path: str | os.PathLike[str],
        **options: Any,
    ) -> ExecutionStats:
        """Scores a file line by line; see :func:`pytransformer.files.score_file`."""
        return files.score_file(self, source_path, target_path, output_path, **options)

    def generate_tokens(
        self,
        source: Sentence,
        target_prefix: Sentence | None = None,
        *,
        return_log_prob: bool = False,
        **options: Any,
    ) -> Iterator[GenerationStepResult]:
        """Yields the tokens of one sentence as soon as nothing can change them.

        With beam search they come in groups, whenever all hypotheses agree on them. Tokens of the
        prefix are not yielded. A generator that is closed early ends the search.
        """
        return self._batches.generate_tokens(source, target_prefix, options, return_log_prob)

    def encode(
        self, source: str | Sentence, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> npt.NDArray[np.float32]:
        """The encoder's states [tokens, d_model] of a text, of tokens or of ids.

        There is one for each token, the end token included. Raises InputLengthError for a source
        that is longer than the model's positions.
        """
        ids = self._source_ids(source, src_lang, tgt_lang)
        return self._engine.encode(self._sentences.fitted(ids, 0, self._sentences.resolve({})))

    def attention(
        self,
        text: str,
        *,
        target: str | None = None,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        **options: Any,
    ) -> AttentionMaps:
        """Attention of all layers and heads while the model reads one sentence.

        Args:
            text: the sentence.
            target: a translation to look at; by default the model's own.
            src_lang: as in :meth:`translate`, like the next one.
            tgt_lang: language of the translation.
            **options: see :class:`pytransformer.options.TranslationOptions`.
        """
        decoding = self._sentences.resolve(options)
        decoding = self._sentences.into_language(decoding, tgt_lang, options)
        source = self._sentences.fitted(self._source_ids(text, src_lang, tgt_lang), 0, decoding)
        if target is not None:
            check_unicode(0, target)
        return self._sentences.attention(source, target, decoding)

    def _single_text(self, text: str, arguments: Mapping[str, Any]) -> TextBatch:
        if not isinstance(text, str):
            raise TypeError(f"text is {type(text).__name__}, expected a string")
        return text_batch(self._sentences, text, **arguments)

    def _source_ids(
        self, source: str | Sentence, src_lang: str | None, tgt_lang: str | None
    ) -> list[int]:
        if not isinstance(source, str):
            return self._batches.source_ids([source])[0]
        check_unicode(0, source)
        return self._model.tokenizer.encode_ids(source, src_lang=src_lang, tgt_lang=tgt_lang)
