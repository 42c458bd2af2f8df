"""The options of CTranslate2's calls, with its names, defaults, checks and messages."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pytransformer.ctranslate2.results import GenerationStepResult

F = TypeVar("F", bound=Callable[..., Any])
Callback = Callable[[GenerationStepResult], bool]
EndToken = str | tuple[str, ...] | tuple[int, ...]


def _count(value: Any) -> int:
    number = operator.index(value)
    if number < 0:
        raise TypeError("a negative number")
    return number


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise TypeError("text")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise TypeError("no bool")
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def tokens(value: Any) -> list[str]:
    """A list of tokens; TypeError for anything else."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        raise TypeError(f"{type(value).__name__}, expected a list of tokens (str)")
    items = list(value)
    for item in items:
        if not isinstance(item, str):
            raise TypeError(f"a list with {type(item).__name__} in it, expected tokens (str)")
    return items


def token_lists(name: str, value: Any) -> list[list[str]]:
    """Lists of tokens; TypeError for anything else."""
    try:
        return [tokens(item) for item in _sequence(value)]
    except TypeError as error:
        raise TypeError(f"{name} is {error}") from None


def _sequence(value: Any) -> Iterable[Any]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        raise TypeError(f"{type(value).__name__}, expected lists of tokens (str)")
    return value  # type: ignore[no-any-return]


def _phrases(value: Any) -> tuple[tuple[str, ...], ...] | None:
    return None if value is None else tuple(map(tuple, token_lists("it", value)))


def _prompt(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(tokens(value))


def _end_token(value: Any) -> EndToken | None:
    if value is None or isinstance(value, str):
        return value
    items = tuple(_sequence(value))
    if all(isinstance(item, str) for item in items):
        return items
    return tuple(_count(item) for item in items)


def _option(default: Any, convert: Callable[[Any], Any]) -> Any:
    return dataclasses.field(default=default, metadata={"convert": convert})


@dataclass(frozen=True)
class BatchOptions:
    """How many sentences are computed at once; changes no result."""

    max_batch_size: int = _option(0, _count)
    batch_type: str = _option("examples", _text)

    def check(self) -> None:
        """Raises ValueError with CTranslate2's message for what cannot be."""
        if self.batch_type not in ("examples", "tokens"):
            raise ValueError(f"Invalid batch type: {self.batch_type}")


@dataclass(frozen=True)
class TranslationOptions(BatchOptions):
    """Options of `translate_batch`, in its order."""

    asynchronous: bool = _option(False, _flag)
    beam_size: int = _option(2, _count)
    patience: float = _option(1, _number)
    num_hypotheses: int = _option(1, _count)
    length_penalty: float = _option(1, _number)
    coverage_penalty: float = _option(0, _number)
    repetition_penalty: float = _option(1, _number)
    no_repeat_ngram_size: int = _option(0, _count)
    disable_unk: bool = _option(False, _flag)
    suppress_sequences: tuple[tuple[str, ...], ...] | None = _option(None, _phrases)
    end_token: str | tuple[str, ...] | tuple[int, ...] | None = _option(None, _end_token)
    return_end_token: bool = _option(False, _flag)
    prefix_bias_beta: float = _option(0, _number)
    max_input_length: int = _option(1024, _count)
    max_decoding_length: int = _option(256, _count)
    min_decoding_length: int = _option(1, _count)
    use_vmap: bool = _option(False, _flag)
    return_scores: bool = _option(False, _flag)
    return_logits_vocab: bool = _option(False, _flag)
    return_attention: bool = _option(False, _flag)
    return_alternatives: bool = _option(False, _flag)
    min_alternative_expansion_prob: float = _option(0, _number)
    sampling_topk: int = _option(1, _count)
    sampling_topp: float = _option(1, _number)
    sampling_temperature: float = _option(1, _number)
    replace_unknowns: bool = _option(False, _flag)

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.sampling_topk != 1 and self.sampling_temperature != 0

    def check_callback(self, callback: Any) -> None:
        """Raises TypeError or ValueError if tokens cannot be told of."""
        if callback is not None and not callable(callback):
            raise TypeError(f"callback is {type(callback).__name__}, expected a function")
        if callback is not None and (self.beam_size != 1 or self.prefix_bias_beta > 0):
            raise ValueError(
                "The callback function is not compatible with beam_size > 1 or prefix_bias_beta > 0"
            )

    def check(self) -> None:
        super().check()
        for is_wrong, message in self._faults():
            if is_wrong:
                raise ValueError(message)

    def _faults(self) -> Iterable[tuple[bool, str]]:
        finished = math.floor(self.beam_size * self.patience + 0.5)
        many = self.return_alternatives or (self.beam_size == 1 and self.sampling_topk != 1)
        prob = self.min_alternative_expansion_prob
        biased = self.prefix_bias_beta > 0
        yield self.beam_size == 0, "The beam size must be > 0"
        yield self.patience <= 0, "The patience factor must be > 0"
        yield self.num_hypotheses == 0, "The number of hypotheses must be > 0"
        yield (
            self.num_hypotheses > finished and not many,
            "The number of hypotheses cannot be greater than beam_size * patience",
        )
        yield (
            self.min_decoding_length > self.max_decoding_length,
            "The minimum decoding length is greater than the maximum decoding length",
        )
        yield self.max_decoding_length == 0, "The maximum decoding length must be > 0"
        yield self.repetition_penalty <= 0, "The repetition penalty must be > 0"
        yield (
            self.prefix_bias_beta >= 1,
            "The beta value in biased decoding must be < 1",
        )
        yield (
            biased and self.return_alternatives,
            "Biased decoding is not compatible with the return_alternatives mode",
        )
        yield (
            self.return_alternatives and not 0 <= prob <= 1,
            "The minimum alternative expansion probability must be between 0 and 1",
        )
        yield (
            not 0 < self.sampling_topp <= 1,
            "The sampling_topp parameter must be between 0 and 1",
        )


@dataclass(frozen=True)
class GenerationOptions(BatchOptions):
    """Options of `generate_batch`, in its order."""

    asynchronous: bool = _option(False, _flag)
    beam_size: int = _option(1, _count)
    patience: float = _option(1, _number)
    num_hypotheses: int = _option(1, _count)
    length_penalty: float = _option(1, _number)
    repetition_penalty: float = _option(1, _number)
    no_repeat_ngram_size: int = _option(0, _count)
    disable_unk: bool = _option(False, _flag)
    suppress_sequences: tuple[tuple[str, ...], ...] | None = _option(None, _phrases)
    end_token: str | tuple[str, ...] | tuple[int, ...] | None = _option(None, _end_token)
    return_end_token: bool = _option(False, _flag)
    max_length: int = _option(512, _count)
    min_length: int = _option(0, _count)
    static_prompt: tuple[str, ...] | None = _option(None, _prompt)
    cache_static_prompt: bool = _option(True, _flag)
    include_prompt_in_result: bool = _option(True, _flag)
    return_scores: bool = _option(False, _flag)
    return_logits_vocab: bool = _option(False, _flag)
    return_alternatives: bool = _option(False, _flag)
    min_alternative_expansion_prob: float = _option(0, _number)
    sampling_topk: int = _option(1, _count)
    sampling_topp: float = _option(1, _number)
    sampling_temperature: float = _option(1, _number)

    @property
    def of_search(self) -> TranslationOptions:
        """The same search, as options of a translation."""
        known = {field.name for field in dataclasses.fields(TranslationOptions)}
        given = {name: value for name, value in vars(self).items() if name in known}
        return TranslationOptions(
            **given, max_decoding_length=self.max_length, min_decoding_length=self.min_length
        )

    def check(self) -> None:
        self.of_search.check()


@dataclass(frozen=True)
class ScoringOptions(BatchOptions):
    """Options of `score_batch`, in its order."""

    max_input_length: int = _option(1024, _count)
    offset: int = _option(0, _count)
    asynchronous: bool = _option(False, _flag)


Options = TypeVar("Options", bound=BatchOptions)


def parse(kind: type[Options], function: str, given: dict[str, Any]) -> Options:
    """The options that a caller has given by keyword; TypeError for unknown names and wrong types.

    Their values are checked by :meth:`BatchOptions.check`.
    """
    values = {}
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        try:
            values[name] = known[name].metadata["convert"](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(
                f"{function}(): {name} is {value!r}, expected {known[name].type}: {error}"
            ) from None
    return kind(**values)


def with_options(kind: type[BatchOptions], *, leaving: Iterable[str] = ()) -> Callable[[F], F]:
    """Gives a function that takes `**options` the signature that names them all.

    `leaving` are the options of that kind that it does not take.
    """

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        parameters = [p for p in own.parameters.values() if p.kind != p.VAR_KEYWORD]
        hidden = {*(p.name for p in parameters), *leaving}
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in dataclasses.fields(kind)
            if field.name not in hidden
        ]
        signature = own.replace(parameters=parameters)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)  # TypeError for unknown names
            return function(*args, **kwargs)

        checked.__signature__ = signature  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorate
