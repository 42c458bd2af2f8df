"""CTranslate2's Translator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pytransformer.ctranslate2 import files
from pytransformer.ctranslate2.arguments import (
    Callback,
    ScoringOptions,
    TranslationOptions,
    parse,
    token_lists,
    tokens,
    with_options,
)
from pytransformer.ctranslate2.batch_search import go_on
from pytransformer.ctranslate2.iterables import stream
from pytransformer.ctranslate2.loaded_model import LoadedModel, load
from pytransformer.ctranslate2.model_owner import ModelOwner
from pytransformer.ctranslate2.results import (
    AsyncScoringResult,
    AsyncTranslationResult,
    ExecutionStats,
    GenerationStepResult,
    ScoringResult,
    TranslationResult,
)
from pytransformer.ctranslate2.scoring import BatchScoring, translation_pair
from pytransformer.ctranslate2.sentences import Sentence, prepare
from pytransformer.ctranslate2.translation import BatchTranslation

Tokenize = Callable[[str], list[str]]
Detokenize = Callable[[list[str]], str]

_ONLY_IN_BATCHES = (
    "asynchronous", "return_end_token", "return_scores", "return_logits_vocab",
    "return_attention", "return_alternatives", "min_alternative_expansion_prob",
)  # fmt: skip
_NOT_FOR_STEPS = (
    *_ONLY_IN_BATCHES, "max_batch_size", "batch_type", "beam_size", "patience", "num_hypotheses",
    "length_penalty", "coverage_penalty", "prefix_bias_beta", "replace_unknowns",
)  # fmt: skip


class Translator(ModelOwner[LoadedModel]):
    """A text translator with the methods, options and results of CTranslate2's.

    Example:
        >>> translator = ctranslate2.Translator("model/", device="cpu")
        >>> translator.translate_batch([["▁Hello", "▁world", "!"]])
    """

    @property
    def num_translators(self) -> int:
        """Number of workers."""
        return self._threads.workers

    def _open(self) -> LoadedModel:
        return load(self._path, self._files, self._wanted_type, self._threads)

    @with_options(TranslationOptions)
    def translate_batch(
        self,
        source: list[list[str]],
        target_prefix: list[list[str] | None] | None = None,
        *,
        callback: Callback | None = None,
        **options: Any,
    ) -> Any:
        """Translates a batch of tokens.

        Args:
            source: the tokens of each sentence.
            target_prefix: the tokens that each translation begins with; None for none.
            callback: is called for each token, with beam_size 1; ends that translation if it
                returns True.
            **options: those of CTranslate2, see
                :class:`pytransformer.ctranslate2.arguments.TranslationOptions`.

        Returns:
            A list of :class:`TranslationResult`, or of :class:`AsyncTranslationResult` with
            `asynchronous`.

        Raises:
            TypeError: an unknown option, or an argument of a wrong type.
            ValueError: options that cannot be.
            RuntimeError: a sentence is longer than the model's positions, there are not as many
                prefixes as sentences, or the model was unloaded.
        """
        given = parse(TranslationOptions, "translate_batch", options)
        sources, prefixes = _both(source, target_prefix)
        if not sources:
            return []
        given.check()
        given.check_callback(callback)
        model = self._loaded()
        _same_count(sources, prefixes)
        sentences = _prepared(model, sources, prefixes, given)
        batch = BatchTranslation(model, sentences, given, self._queued.add, callback)
        return batch.async_results() if given.asynchronous else batch.results()

    def translate_iterable(
        self,
        source: Iterable[list[str]],
        target_prefix: Iterable[list[str]] | None = None,
        max_batch_size: int = 32,
        batch_type: str = "examples",
        **options: Any,
    ) -> Iterator[TranslationResult]:
        """Yields the translations of a stream of sentences, which is never held as a whole.

        Arguments as in :meth:`translate_batch`; both iterables must be equally long.
        """

        def submit(*streams: Any) -> list[AsyncTranslationResult]:
            found: list[AsyncTranslationResult] = self.translate_batch(
                *streams,
                **{
                    **options,
                    "max_batch_size": max_batch_size,
                    "batch_type": batch_type,
                    "asynchronous": True,
                },
            )
            return found

        iterables = [source] if target_prefix is None else [source, target_prefix]
        yield from stream(submit, iterables, max_batch_size, batch_type)

    @with_options(TranslationOptions, leaving=_ONLY_IN_BATCHES)
    def translate_file(
        self,
        source_path: str,
        output_path: str,
        target_path: str | None = None,
        *,
        max_batch_size: int = 32,
        read_batch_size: int = 0,
        with_scores: bool = False,
        source_tokenize_fn: Tokenize | None = None,
        target_tokenize_fn: Tokenize | None = None,
        target_detokenize_fn: Detokenize | None = None,
        **options: Any,
    ) -> ExecutionStats:
        """Translates a file of sentences, one a line; tokens are separated by spaces.

        Args:
            source_path: the file.
            output_path: where the translations go, one a line for each hypothesis.
            target_path: a file of target prefixes.
            max_batch_size: sentences, or tokens, at once.
            read_batch_size: accepted for CTranslate2's sake; changes no result.
            with_scores: begin each line with its score and " ||| ".
            source_tokenize_fn: makes tokens of a line, where they are not separated by spaces.
            target_tokenize_fn: the same for a prefix.
            target_detokenize_fn: makes a line of tokens.
            **options: as in :meth:`translate_batch`.
        """
        del read_batch_size
        texts = files.Texts(source_tokenize_fn, target_tokenize_fn, target_detokenize_fn)
        texts.check_translation(target_path is not None)
        parse(TranslationOptions, "translate_file", options).check()
        self._loaded()
        return files.translate_file(
            lambda source, prefix: self.translate_iterable(
                source, prefix, max_batch_size, return_scores=with_scores, **options
            ),
            (source_path, output_path, target_path),
            texts,
            with_scores=with_scores,
        )

    @with_options(ScoringOptions)
    def score_batch(self, source: list[list[str]], target: list[list[str]], **options: Any) -> Any:
        """Scores given translations.

        Args:
            source: the tokens of each sentence.
            target: those of its translation, without start and end token.
            **options: those of CTranslate2, see
                :class:`pytransformer.ctranslate2.arguments.ScoringOptions`.

        Returns:
            A list of :class:`ScoringResult`, or of :class:`AsyncScoringResult` with
            `asynchronous`. Errors as in :meth:`translate_batch`.
        """
        given = parse(ScoringOptions, "score_batch", options)
        sources, targets = token_lists("source", source), token_lists("target", target)
        given.check()
        model = self._loaded()
        _same_count(sources, targets)
        both = zip(sources, targets, strict=True)
        pairs = [translation_pair(model, *pair, given.max_input_length) for pair in both]
        batch = BatchScoring(model, pairs, given, self._queued.add)
        return batch.async_results() if given.asynchronous else batch.results()

    def score_iterable(
        self,
        source: Iterable[list[str]],
        target: Iterable[list[str]],
        max_batch_size: int = 64,
        batch_type: str = "examples",
        **options: Any,
    ) -> Iterator[ScoringResult]:
        """Yields the scores of a stream of sentence pairs; arguments as in :meth:`score_batch`."""

        def submit(*streams: list[list[str]]) -> list[AsyncScoringResult]:
            found: list[AsyncScoringResult] = self.score_batch(
                *streams,
                **{
                    **options,
                    "max_batch_size": max_batch_size,
                    "batch_type": batch_type,
                    "asynchronous": True,
                },
            )
            return found

        yield from stream(submit, [source, target], max_batch_size, batch_type)

    @with_options(ScoringOptions, leaving=("asynchronous",))
    def score_file(
        self,
        source_path: str,
        target_path: str,
        output_path: str,
        *,
        max_batch_size: int = 32,
        read_batch_size: int = 0,
        with_tokens_score: bool = False,
        source_tokenize_fn: Tokenize | None = None,
        target_tokenize_fn: Tokenize | None = None,
        target_detokenize_fn: Detokenize | None = None,
        **options: Any,
    ) -> ExecutionStats:
        """Scores a file of translations: each line becomes its mean score, " ||| " and itself.

        With `with_tokens_score`, " ||| " and the score of each token follow. Other arguments as
        in :meth:`translate_file`.
        """
        del read_batch_size
        texts = files.Texts(source_tokenize_fn, target_tokenize_fn, target_detokenize_fn)
        texts.check_scoring()
        parse(ScoringOptions, "score_file", options).check()
        self._loaded()
        return files.score_file(
            lambda source, target: self.score_iterable(source, target, max_batch_size, **options),
            (source_path, target_path, output_path),
            texts,
            with_tokens_score=with_tokens_score,
        )

    @with_options(TranslationOptions, leaving=_NOT_FOR_STEPS)
    def generate_tokens(
        self,
        source: list[str],
        target_prefix: list[str] | None = None,
        *,
        return_log_prob: bool = False,
        **options: Any,
    ) -> Iterator[GenerationStepResult]:
        """Yields the tokens of one sentence, by greedy search or drawn, as soon as they are there.

        The tokens of the prefix come too, and the end token. A generator that is closed early
        ends the search. Arguments as in :meth:`translate_batch`.
        """
        given = parse(TranslationOptions, "generate_tokens", {**options, "beam_size": 1})
        sources, prefixes = _both([source], None if target_prefix is None else [target_prefix])
        given.check()
        model = self._loaded()
        sentences = _prepared(model, sources, prefixes, given)
        batch = BatchTranslation(model, sentences, given, self._queued.add, go_on)
        yield from batch.steps(with_log_prob=return_log_prob)


def _prepared(
    model: LoadedModel,
    sources: list[list[str]],
    prefixes: list[list[str]],
    options: TranslationOptions,
) -> list[Sentence]:
    both = zip(sources, prefixes, strict=True)
    return [prepare(model, source, prefix, options) for source, prefix in both]


def _both(source: Any, target_prefix: Any) -> tuple[list[list[str]], list[list[str]]]:
    sources = token_lists("source", source)
    if target_prefix is None:
        return sources, [[] for _ in sources]
    if isinstance(target_prefix, (str, bytes)) or not hasattr(target_prefix, "__getitem__"):
        kind = type(target_prefix).__name__
        raise TypeError(f"target_prefix is {kind}, expected lists of tokens (str)")
    return sources, [[] if prefix is None else tokens(prefix) for prefix in target_prefix]


def _same_count(sources: list[list[str]], others: list[list[str]]) -> None:
    if len(sources) != len(others):
        raise RuntimeError("One input stream has less examples than the others")
