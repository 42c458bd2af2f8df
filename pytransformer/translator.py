"""The translator: what most users touch."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from pytransformer import _native, files
from pytransformer.batches import TokenBatches
from pytransformer.compute_types import COMPUTE_TYPE
from pytransformer.decoding import DecodingLimits
from pytransformer.errors import OptionError
from pytransformer.glossary import Glossary, GlossaryMode
from pytransformer.inputs import InputLengthError, Sentence, check_unicode, text_list
from pytransformer.model_files import OpenModel, open_model
from pytransformer.option_rules import Integer, check, option, option_infos
from pytransformer.pending import AsyncResult, CompletionWatcher
from pytransformer.results import (
    ExecutionStats,
    GenerationStepResult,
    ScoringResult,
    TranslationResult,
)
from pytransformer.sentences import SentenceTranslator
from pytransformer.texts import TextBatch, TextOptions
from pytransformer.tokenizers import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytransformer.attention import AttentionMaps
    from pytransformer.shortlist import LexicalShortlist

__all__ = ["SETTINGS", "THREADS", "InputLengthError", "Translator", "TranslatorSettings"]

_MAX_THREADS = 1024
THREADS = Integer(0, _MAX_THREADS)
_SHORTLIST = Integer(0, 2**31 - 1)


@dataclass(frozen=True)
class TranslatorSettings:
    """Settings of a translator as a whole, with the rules that they keep."""

    compute_type: str = option(
        COMPUTE_TYPE,
        "number format of the weights: default is as stored, auto the fastest that costs at most "
        "0.3 BLEU",
        flags=("--compute-type",),
    )
    inter_threads: int = option(Integer(1, _MAX_THREADS), "sentences translated in parallel")
    intra_threads: int = option(THREADS, "threads for each of them")
    shortlist_first: int = option(
        _SHORTLIST,
        "with a shortlist: so many of the vocabulary's first tokens are always possible",
        flags=("--shortlist-first",),
    )
    shortlist_best: int = option(
        _SHORTLIST,
        "with a shortlist: so many translations of each source token are possible",
        flags=("--shortlist-best",),
    )


SETTINGS = option_infos(TranslatorSettings)


class Translator:
    """Translates text with one model; its methods may be called from several threads at once.

    A sentence's translation does not depend on the sentences beside it, on the batch size or on
    the number of threads. Calls that run at the same time share batches. A translator can be
    pickled, by its path and settings, and used in forked processes.

    Example:
        >>> translator = pytransformer.Translator()
        >>> translator.translate("Ein Hund läuft durch den Schnee.", tgt_lang="en")
        'A dog runs through the snow.'
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        compute_type: str = "default",
        inter_threads: int = 1,
        intra_threads: int = 0,
        shortlist: str | os.PathLike[str] | None = None,
        shortlist_first: int = 100,
        shortlist_best: int = 100,
    ) -> None:
        """Opens a model.

        Args:
            model: path of a checkpoint (a Hugging Face directory) or of a native model file; None
                is the model that the package carries.
            compute_type: number format of the weights: "float32", "bfloat16", "int8" or "int4".
                "default" is as stored, in which a native file is mapped and shared with other
                processes; any other type is converted in memory. "auto" is the fastest that costs
                at most 0.3 BLEU: int8, but what is stored as int4 stays so. CTranslate2's
                "int8_float32", "int8_float16" and "int8_bfloat16" mean "int8".
            inter_threads: how many workers translate in parallel; they share the weights.
            intra_threads: threads of each worker; 0 shares out the cores that this process may use
                (by its affinity and its container's quota).
            shortlist: a lexical shortlist in one of Marian's forms (docs/shortlists.md). Only the
                tokens that it names for a source can then be generated, which is faster.
            shortlist_first: so many of the vocabulary's first tokens are always possible.
            shortlist_best: so many translations of each source token are possible.

        Raises:
            CheckpointError: the model cannot be read; names the file and what would be right.
            OptionError: an unknown compute type or an impossible number of threads.
        """
        self._settings = _check_settings(
            compute_type=compute_type,
            inter_threads=inter_threads,
            intra_threads=intra_threads,
            shortlist_first=shortlist_first,
            shortlist_best=shortlist_best,
        )
        self._shortlist = None if shortlist is None else os.path.abspath(os.fspath(shortlist))
        # Where the process goes later must not change what a pickled translator opens.
        self._path = None if model is None else os.path.abspath(os.fspath(model))
        settings = self._settings
        self._model = open_model(model, settings.compute_type)
        cores_per_worker = _native.available_threads() // settings.inter_threads
        self._engine = _native.Engine(
            self._model.native,
            settings.inter_threads,
            settings.intra_threads or max(1, cores_per_worker),
        )
        self._sentences = SentenceTranslator(
            self._model, self._engine, _open_shortlist(self._shortlist, self._model, settings)
        )
        self._batches = TokenBatches(self._sentences)
        self._watcher = CompletionWatcher()

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
        batch = self._text_batch(
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

    @overload
    def translate_async(self, text: str, **arguments: Any) -> AsyncResult[str]: ...

    @overload
    def translate_async(self, text: Iterable[str], **arguments: Any) -> AsyncResult[list[str]]: ...

    def translate_async(self, text: str | Iterable[str], **arguments: Any) -> AsyncResult[Any]:
        """As :meth:`translate`, but returns at once; ``await`` what it returns.

        Texts that are asked for one after another join the batch that is running, so many single
        ones take about as long as one call with all of them.
        """
        batch = self._text_batch(text, **arguments)
        pending = batch.submit()

        def make_result() -> str | list[str]:
            found = batch.join(pending.hypotheses())
            return found[0] if isinstance(text, str) else found

        return AsyncResult(pending.job, make_result, self._watcher)

    def translate_stream(self, text: str, **arguments: Any) -> Iterator[str]:
        """Yields the translation of a text piece by piece, each as soon as it is certain.

        With beam search that is the part on which all hypotheses agree that may still win. All
        pieces together are what :meth:`translate` returns. Arguments and errors as there; they are
        checked at once. A stream that is closed early ends the search.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is {type(text).__name__}, expected a string")
        batch = self._text_batch(text, **arguments)
        return batch.stream(batch.submit(stream=True))

    async def translate_stream_async(self, text: str, **arguments: Any) -> AsyncIterator[str]:
        """As :meth:`translate_stream`, for ``async for``."""
        pieces = self.translate_stream(text, **arguments)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            pieces.close()  # type: ignore[attr-defined]

    def translate_batch(
        self,
        source: Iterable[Sentence],
        target_prefix: Iterable[Sentence | None] | None = None,
        *,
        callback: Callable[[GenerationStepResult], bool] | None = None,
        asynchronous: bool = False,
        **options: Any,
    ) -> Any:
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
    ) -> Any:
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
            return self._batches.score_async(source, target, options, offset, self._watcher)
        return self._batches.score(source, target, options, offset)

    def score_iterable(
        self,
        source: Iterable[Sentence],
        target: Iterable[Sentence],
        max_batch_size: int = 64,
        batch_type: Literal["examples", "tokens"] = "examples",
        **options: Any,
    ) -> Iterator[ScoringResult]:
        """Yields the scores of a stream of sentence pairs; arguments as in :meth:`score_batch`."""
        options = {**options, "max_batch_size": max_batch_size, "batch_type": batch_type}
        return self._batches.score_iterable(source, target, options, self.inter_threads)

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

        There is one for each token, the end token included.
        """
        return self._engine.encode(self._source_ids(source, src_lang, tgt_lang))

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
        from pytransformer.attention import AttentionMaps

        source = self._source_ids(text, src_lang, tgt_lang)
        decoding = self._sentences.resolve(options)
        end = decoding.search.end_token_ids[0]
        tokenizer = self._model.tokenizer
        if target is None:
            pending = self._sentences.submit([source], decoding, nothing=[])
            best = pending.hypotheses()[0][0]
            ids = [i for i in best.ids if i not in decoding.search.end_token_ids]
            ids += [end] if best.reason != "length" else []
        else:
            ids = [*tokenizer.target_ids(tokenizer.encode_target(target)), end]
        start = decoding.search.decoder_start_token_id
        maps = self._engine.attention(source, [start, *ids[:-1]])
        return AttentionMaps(
            tokenizer.source_tokens(source),
            tokenizer.target_tokens(ids),
            *maps,
            start_token=tokenizer.target_tokens([start])[0],
        )

    @property
    def limits(self) -> DecodingLimits:
        """What the model says about options: defaults and bounds."""
        return self._sentences.limits

    @property
    def tokenizer(self) -> Tokenizer:
        """Turns text into tokens and ids, and back."""
        return self._model.tokenizer

    @property
    def model_path(self) -> str:
        """Path of the model."""
        return self._model.path

    @property
    def family(self) -> str:
        """Family of the model, such as "marian"."""
        return self._model.family

    @property
    def source_languages(self) -> Sequence[str]:
        """Languages that `src_lang` may name; empty where the model does not say."""
        return self._model.tokenizer.source_languages

    @property
    def target_languages(self) -> Sequence[str]:
        """Languages that `tgt_lang` may name; empty where the model does not say."""
        return self._model.tokenizer.target_languages

    @property
    def num_parameters(self) -> int:
        """Number of weights, those that pad rows to whole registers included."""
        return self._model.native.num_parameters

    @property
    def compute_type(self) -> str:
        """Number format of the matrices, or of most of them."""
        return self._model.native.compute_type

    @property
    def isa(self) -> str:
        """Instruction set in use, such as "avx2"."""
        return self._engine.isa

    @property
    def inter_threads(self) -> int:
        """Number of workers."""
        return self._engine.inter_threads

    @property
    def intra_threads(self) -> int:
        """Threads of each worker."""
        return self._engine.intra_threads

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.model_path!r}, compute_type={self.compute_type!r}, "
            f"inter_threads={self.inter_threads}, intra_threads={self.intra_threads})"
        )

    def __reduce__(self) -> Any:
        """Pickles path and settings, not weights: whoever opens it needs the same files."""
        settings = {**dataclasses.asdict(self._settings), "shortlist": self._shortlist}
        return _reopen, (type(self), self._path, settings)

    def _text_batch(
        self,
        text: str | Iterable[str],
        *,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        target_prefix: str | None = None,
        glossary: Mapping[str, str] | None = None,
        glossary_mode: GlossaryMode = "phrases",
        **options: Any,
    ) -> TextBatch:
        texts = [text] if isinstance(text, str) else text_list(text)
        if target_prefix is not None and not isinstance(target_prefix, str):
            raise TypeError(f"target_prefix is {type(target_prefix).__name__}, expected a string")
        terms = None if glossary is None else Glossary(glossary, glossary_mode)
        asked = TextOptions(src_lang, tgt_lang, target_prefix, terms)
        return TextBatch(self._sentences, texts, asked, self._sentences.resolve(options))

    def _source_ids(
        self, source: str | Sentence, src_lang: str | None, tgt_lang: str | None
    ) -> list[int]:
        if not isinstance(source, str):
            return self._batches.source_ids([source])[0]
        check_unicode(0, source)
        return self._model.tokenizer.encode_ids(source, src_lang=src_lang, tgt_lang=tgt_lang)


def _reopen(kind: type[Translator], path: str | None, settings: dict[str, Any]) -> Translator:
    return kind(path, **settings)


def _check_settings(**arguments: object) -> TranslatorSettings:
    values, problems = check(SETTINGS, arguments)
    if problems:
        raise OptionError("; ".join(problems))
    return TranslatorSettings(**values)


def _open_shortlist(
    path: str | None, model: OpenModel, settings: TranslatorSettings
) -> LexicalShortlist | None:
    if path is None:
        return None
    from pytransformer.shortlist import LexicalShortlist

    tokenizer = model.tokenizer
    return LexicalShortlist.load(
        path,
        lambda token: tokenizer.source_ids([token])[0],
        lambda token: tokenizer.target_ids([token])[0],
        source_size=model.spec.encoder.vocab_size,
        target_size=model.spec.decoder.vocab_size,
        first=settings.shortlist_first,
        best=settings.shortlist_best,
    )
