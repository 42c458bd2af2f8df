"""Options of a translation: declared once, checked together, handed to the engine whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

from pytransformer import _native
from pytransformer.errors import OptionError
from pytransformer.model_spec import GenerationSpec
from pytransformer.option_rules import (
    FLAG,
    Choice,
    Integer,
    Number,
    Tokens,
    check,
    option,
    option_infos,
)

MAX_BEAM_SIZE = 1024

# How much is translated at once unless the caller says otherwise: enough rows to keep the matrix
# multiplications at full speed. Results do not depend on it.
_BATCH = {"examples": 64, "tokens": 2048}

_EARLY_STOPPING: dict[bool | str, int] = {False: 0, True: 1, "never": 2}

_LENGTH = Integer(0, 2**31 - 1)


@dataclass(frozen=True)
class TranslationOptions:
    """Options of decoding, named as CTranslate2 names them; all have a value here.

    A caller gives some of them by keyword; those that are not given, or None, come from the
    checkpoint. Lengths count tokens without start and end token.
    """

    beam_size: int = option(
        Integer(1, MAX_BEAM_SIZE),
        "hypotheses kept at each step; 1 is greedy search",
        flags=("--beam-size",),
    )
    num_hypotheses: int = option(
        Integer(1, MAX_BEAM_SIZE), "hypotheses returned, at most beam_size; 1 by default"
    )
    length_penalty: float = option(
        Number(-10, 10),
        "scores are divided by length ** length_penalty: more favours longer translations",
        flags=("--length-penalty",),
    )
    early_stopping: bool | Literal["never"] = option(
        Choice((False, True, "never")),
        "when beam search ends, as in Hugging Face generate: true at the first beam_size finished "
        "hypotheses, false when a better one is unlikely, never when none is possible",
        flags=("--early-stopping",),
    )
    max_decoding_length: int = option(
        Integer(1, 2**31 - 1),
        "longest translation, in tokens",
        flags=("--max-decoding-length",),
    )
    min_decoding_length: int = option(
        _LENGTH, "shortest translation, in tokens", flags=("--min-decoding-length",)
    )
    max_input_length: int = option(
        _LENGTH,
        "cut longer inputs to so many tokens; 0, the default, cuts nothing: an input longer than "
        "the model's positions is then an error",
        flags=("--max-input-length",),
    )
    return_scores: bool = option(FLAG, "return scores with the hypotheses")
    end_token: tuple[str | int, ...] = option(
        Tokens(), "token or tokens that end a translation, instead of the model's"
    )
    max_batch_size: int = option(
        _LENGTH,
        "most sentences (or tokens, by batch type) translated at once; 0, the default, lets the "
        "engine choose; results do not depend on it",
        flags=("--batch-size", "--max-batch-size"),
    )
    batch_type: Literal["examples", "tokens"] = option(
        Choice(("examples", "tokens")),
        "what the batch size counts; examples by default",
        flags=("--batch-type",),
    )


OPTIONS = option_infos(TranslationOptions)


@dataclass(frozen=True)
class DecodingLimits:
    """What a model says about options: its defaults and its bounds.

    ``max_source_length`` counts the end token, ``max_decoding_length`` does not; None where the
    model's positions set no bound. ``target_id`` gives a target token's id, None if there is none.
    """

    generation: GenerationSpec
    vocab_size: int
    max_source_length: int | None
    max_decoding_length: int | None
    target_id: Callable[[str], int | None]


@dataclass(frozen=True)
class Decoding:
    """Checked options, and the same as the engine takes them."""

    options: TranslationOptions
    search: _native.SearchOptions


def resolve(arguments: Mapping[str, object], limits: DecodingLimits) -> Decoding:
    """Checks options by name and fills in the checkpoint's defaults.

    Raises:
        OptionError: one for all that is wrong: unknown names (with the nearest known one), values
            of a wrong type or out of bounds, and values that contradict another or the model.
    """
    given = {
        name: value for name, value in arguments.items() if value is not None or name not in OPTIONS
    }
    values, problems = check(OPTIONS, given)
    broken = given.keys() - values.keys()
    options = TranslationOptions(**{**_defaults(limits), **values})
    problems += _conflicts(options, limits, broken)
    if problems:
        raise OptionError("; ".join(problems))
    return Decoding(options, _search_options(options, limits))


def _defaults(limits: DecodingLimits) -> dict[str, Any]:
    generation = limits.generation
    reach = limits.max_decoding_length
    length = generation.max_decoding_length
    return {
        "beam_size": min(generation.beam_size, limits.vocab_size),
        "num_hypotheses": 1,
        "length_penalty": generation.length_penalty,
        "early_stopping": generation.early_stopping,
        "max_decoding_length": length if reach is None else min(length, reach),
        "min_decoding_length": generation.min_decoding_length,
        "max_input_length": 0,
        "return_scores": False,
        "end_token": (generation.end_token_id,),
        "max_batch_size": 0,
        "batch_type": "examples",
    }


def _conflicts(options: TranslationOptions, limits: DecodingLimits, broken: Set[str]) -> list[str]:
    """What contradicts the model or another option, but for options already found broken."""
    reach = limits.max_decoding_length
    unknown = [token for token in options.end_token if _token_id(token, limits) is None]
    conflicts = [
        (
            options.beam_size > limits.vocab_size,
            {"beam_size"},
            (
                f"beam_size is {options.beam_size}, but the vocabulary has only "
                f"{limits.vocab_size} tokens"
            ),
        ),
        (
            options.num_hypotheses > options.beam_size,
            {"num_hypotheses", "beam_size"},
            f"num_hypotheses is {options.num_hypotheses}, more than beam_size, {options.beam_size}",
        ),
        (
            reach is not None and options.max_decoding_length > reach,
            {"max_decoding_length"},
            (
                f"max_decoding_length is {options.max_decoding_length}, but the model's positions "
                f"reach only {reach} tokens"
            ),
        ),
        (
            options.min_decoding_length > options.max_decoding_length,
            {"min_decoding_length", "max_decoding_length"},
            (
                f"min_decoding_length is {options.min_decoding_length}, more than "
                f"max_decoding_length, {options.max_decoding_length}"
            ),
        ),
        (
            bool(unknown),
            {"end_token"},
            "end_token: the target vocabulary has no " + ", ".join(map(repr, unknown)),
        ),
    ]
    return [text for wrong, names, text in conflicts if wrong and names.isdisjoint(broken)]


def _token_id(token: str | int, limits: DecodingLimits) -> int | None:
    if isinstance(token, str):
        return limits.target_id(token)
    return token if token < limits.vocab_size else None


def _search_options(options: TranslationOptions, limits: DecodingLimits) -> _native.SearchOptions:
    generation = limits.generation
    ids = (_token_id(token, limits) for token in options.end_token)
    end_ids = [index for index in ids if index is not None]
    # An end token forced at the maximum length must be one that ends the hypothesis.
    forced = generation.forced_end_token_id
    return _native.SearchOptions(
        beam_size=options.beam_size,
        num_hypotheses=options.num_hypotheses,
        length_penalty=options.length_penalty,
        early_stopping=_EARLY_STOPPING[options.early_stopping],
        max_decoding_length=options.max_decoding_length,
        min_decoding_length=options.min_decoding_length,
        return_scores=options.return_scores,
        decoder_start_token_id=generation.decoder_start_token_id,
        end_token_ids=end_ids,
        forced_end_token_id=forced if forced is not None and forced in end_ids else -1,
        suppress_token_ids=generation.suppress_token_ids,
        max_batch_size=options.max_batch_size or _BATCH[options.batch_type],
        batch_by_tokens=options.batch_type == "tokens",
    )
