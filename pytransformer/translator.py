"""The translator: what most users touch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, overload

from pytransformer import _native
from pytransformer.compute_types import COMPUTE_TYPE
from pytransformer.errors import OptionError
from pytransformer.model_files import open_model
from pytransformer.option_rules import Integer, check, option, option_infos
from pytransformer.options import Decoding, resolve

_MAX_THREADS = 1024
THREADS = Integer(0, _MAX_THREADS)

# Token ids without start and end token, and their score.
_Hypothesis: TypeAlias = tuple[list[int], float]


@dataclass(frozen=True)
class TranslationResult:
    """The hypotheses of one sentence, best first.

    Attributes:
        hypotheses: tokens of each hypothesis, without start and end token.
        scores: log-probability of each hypothesis divided by its length to the power of the
            length penalty; empty unless ``return_scores`` was set.
    """

    hypotheses: list[list[str]]
    scores: list[float] = field(default_factory=list)


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


SETTINGS = option_infos(TranslatorSettings)


class InputLengthError(OptionError):
    """An input is longer than the model's positions reach, and no cut was asked for.

    Attributes:
        index: which input, counted from 0.
    """

    def __init__(self, index: int, length: int, limit: int) -> None:
        self.index = index
        self.length = length
        self.limit = limit
        super().__init__(f"input {index} {self.reason}")

    @property
    def reason(self) -> str:
        """What is wrong and what would be right, without the input's number."""
        return (
            f"has {self.length} tokens, but this model's positions reach {self.limit} (end token "
            f"included); split it, or set max_input_length to cut it"
        )


class Translator:
    """Translates text with one model; its methods may be called from several threads at once.

    A sentence's translation does not depend on the sentences beside it, on the batch size or on
    the number of threads.

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

        Raises:
            CheckpointError: the model cannot be read; names the file and what would be right.
            OptionError: an unknown compute type or an impossible number of threads.
        """
        settings = _check_settings(
            compute_type=compute_type, inter_threads=inter_threads, intra_threads=intra_threads
        )
        self._model = open_model(model, settings.compute_type)
        self._limits = self._model.limits()
        cores_per_worker = _native.available_threads() // settings.inter_threads
        self._engine = _native.Engine(
            self._model.native,
            settings.inter_threads,
            settings.intra_threads or max(1, cores_per_worker),
        )

    @overload
    def translate(
        self, text: str, *, src_lang: str | None = ..., tgt_lang: str | None = ..., **options: Any
    ) -> str: ...

    @overload
    def translate(
        self,
        text: Iterable[str],
        *,
        src_lang: str | None = ...,
        tgt_lang: str | None = ...,
        **options: Any,
    ) -> list[str]: ...

    def translate(
        self,
        text: str | Iterable[str],
        *,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
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
            **options: see :class:`pytransformer.options.TranslationOptions`. The best hypothesis
                is returned, whatever `num_hypotheses` is.

        Raises:
            TypeError: `text` is not text.
            ValueError: a string holds a lone surrogate, so it is no Unicode text.
            OptionError: one or more options are wrong, or a language is not the model's.
            InputLengthError: a line is longer than the model's positions and may not be cut.
        """
        if isinstance(text, str):
            return self._translate_texts([text], src_lang, tgt_lang, options)[0]
        return self._translate_texts(_text_list(text), src_lang, tgt_lang, options)

    def translate_batch(
        self, source: Iterable[Sequence[str]], **options: Any
    ) -> list[TranslationResult]:
        """Translates sentences given as tokens.

        The source's end token is added unless a sentence has it already; tokens that the vocabulary
        lacks become ``<unk>``. A sentence with no tokens but the end token gets empty hypotheses,
        of score 0, as in CTranslate2.

        Args:
            source: the tokens of each sentence.
            **options: see :class:`pytransformer.options.TranslationOptions`.

        Returns:
            One result for each sentence, in the same order.

        Raises:
            TypeError: `source` is not made of lists of tokens.
            OptionError: one or more options are wrong.
            InputLengthError: a sentence is longer than the model's positions and may not be cut.
        """
        decoding = resolve(options, self._limits)
        sentences = _token_lists(source)
        ids = [self._model.tokenizer.source_ids(tokens) for tokens in sentences]
        results = []
        nothing = self._model.tokenizer.source_ids([])
        for hypotheses in self._search(ids, nothing, range(len(ids)), decoding):
            tokens = [self._model.tokenizer.target_tokens(target) for target, _ in hypotheses]
            scores = [score for _, score in hypotheses] if decoding.options.return_scores else []
            results.append(TranslationResult(tokens, scores))
        return results

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

    def _translate_texts(
        self,
        texts: list[str],
        src_lang: str | None,
        tgt_lang: str | None,
        arguments: Mapping[str, object],
    ) -> list[str]:
        decoding = resolve(arguments, self._limits)

        def encode(line: str) -> list[int]:
            return self._model.tokenizer.encode_ids(line, src_lang=src_lang, tgt_lang=tgt_lang)

        nothing = encode("")  # an unknown language ends here, even if there is no text
        sources: list[list[int]] = []
        owners: list[int] = []
        for index, text in enumerate(texts):
            _check_unicode(index, text)
            for line in text.split("\n"):
                sources.append(encode(line) if line.strip() else nothing)
                owners.append(index)
        found = iter(self._search(sources, nothing, owners, decoding))
        return [
            "\n".join(self._text(line, next(found)) for line in text.split("\n")) for text in texts
        ]

    def _text(self, source: str, hypotheses: list[_Hypothesis]) -> str:
        """The best hypothesis as one line that ends as its source does."""
        best, _ = hypotheses[0]
        ending = "\r" if source.endswith("\r") else ""
        return self._model.tokenizer.decode(best).replace("\n", " ") + ending

    def _search(
        self,
        sources: list[list[int]],
        nothing: list[int],
        owners: Sequence[int],
        decoding: Decoding,
    ) -> list[list[_Hypothesis]]:
        """Hypotheses of each source (ids with the end token), in order.

        A source equal to `nothing` has no content: its hypotheses are empty, with score 0.
        `owners` says of which input a source is a part, for messages.
        """
        cut = decoding.options.max_input_length
        if cut:
            end = self._model.tokenizer.source_ids([])
            sources = [_cut(ids, cut, end) for ids in sources]
        limit = self._limits.max_source_length
        for owner, ids in zip(owners, sources, strict=True):
            if limit is not None and len(ids) > limit:
                raise InputLengthError(owner, len(ids), limit)
        with_content = [ids for ids in sources if ids != nothing]
        found = iter(self._engine.translate(with_content, decoding.search) if with_content else [])
        empty: list[_Hypothesis] = [([], 0.0)] * decoding.options.num_hypotheses
        return [empty if ids == nothing else next(found) for ids in sources]


def _check_settings(**arguments: object) -> TranslatorSettings:
    values, problems = check(SETTINGS, arguments)
    if problems:
        raise OptionError("; ".join(problems))
    return TranslatorSettings(**values)


def _text_list(texts: Iterable[str]) -> list[str]:
    expected = "expected a string or strings"
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Iterable):
        raise TypeError(f"text is {type(texts).__name__}, {expected}")
    items = list(texts)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise TypeError(f"text {index} is {type(item).__name__}, {expected}")
    return items


def _check_unicode(index: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"text {index} holds the lone surrogate U+{code:04X} at position {error.start}, "
            "expected Unicode text"
        ) from None


def _token_lists(source: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    expected = "expected lists of tokens (str)"
    if isinstance(source, (str, bytes)) or not isinstance(source, Iterable):
        raise TypeError(f"source is {type(source).__name__}, {expected}")
    sentences = list(source)
    for index, tokens in enumerate(sentences):
        if isinstance(tokens, (str, bytes)) or not isinstance(tokens, Sequence):
            raise TypeError(f"source {index} is {type(tokens).__name__}, {expected}")
        wrong = {type(token).__name__ for token in tokens if not isinstance(token, str)}
        if wrong:
            raise TypeError(f"source {index} holds {', '.join(sorted(wrong))}, {expected}")
    return sentences


def _cut(ids: list[int], length: int, end: list[int]) -> list[int]:
    """The first `length` tokens, not counting the end token that closes them."""
    return ids if len(ids) <= length + len(end) else ids[:length] + end
