"""Checks the options of a call together and makes of them what the engine takes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytransformer import _native
from pytransformer.errors import OptionError
from pytransformer.model_spec import GenerationSpec
from pytransformer.option_rules import check
from pytransformer.options import OPTIONS, Phrase, TranslationOptions

# How much is translated at once unless the caller says otherwise: enough rows to keep the matrix
# multiplications at full speed. Results do not depend on it.
_BATCH = {"examples": 64, "tokens": 2048}

_EARLY_STOPPING: dict[bool | str, int] = {False: 0, True: 1, "never": 2}

# What contradicts something else: the options that are to blame, and what is wrong.
_Conflict = tuple[set[str], str]


@dataclass(frozen=True)
class DecodingLimits:
    """What a model says about options: its defaults and its bounds.

    ``max_source_length`` counts the end token, ``max_decoding_length`` does not; None where the
    model's positions set no bound. ``target_id`` gives a target token's id, None if there is none;
    ``text_ids`` those of a text in the target language.
    """

    generation: GenerationSpec
    vocab_size: int
    max_source_length: int | None
    max_decoding_length: int | None
    target_id: Callable[[str], int | None]
    text_ids: Callable[[str], list[int]]
    unknown_id: Callable[[], int | None]
    num_layers: int
    num_heads: int
    has_shortlist: bool = False

    @functools.cached_property
    def defaults(self) -> Mapping[str, Any]:
        """What options are that nobody gives."""
        return _defaults(self)


@dataclass(frozen=True)
class Decoding:
    """Checked options, and the same as the engine takes them."""

    options: TranslationOptions
    search: _native.SearchOptions
    force_phrases: list[list[int]]
    allowed: list[int]

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.options.sampling_topk != 1


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
    sampling = {"beam_size": 1} if values.get("sampling_topk", 1) != 1 else {}
    options = TranslationOptions(**{**limits.defaults, **sampling, **values})
    ids = _Ids(options, limits)
    conflicts = [*_conflicts(options, limits), *_layer_conflicts(options, limits), *ids.conflicts()]
    problems += [text for names, text in conflicts if names.isdisjoint(broken)]
    if problems:
        raise OptionError("; ".join(problems))
    return Decoding(
        options, _search_options(options, limits, ids), ids.force_phrases, sorted(set(ids.allowed))
    )


def _defaults(limits: DecodingLimits) -> dict[str, Any]:
    generation = limits.generation
    reach = limits.max_decoding_length
    length = generation.max_decoding_length
    ends: tuple[int, ...] = (generation.end_token_id, *generation.more_end_token_ids)
    return {
        "beam_size": min(generation.beam_size, limits.vocab_size),
        "patience": 1.0,
        "num_hypotheses": 1,
        "length_penalty": generation.length_penalty,
        "coverage_penalty": 0.0,
        "repetition_penalty": generation.repetition_penalty,
        "no_repeat_ngram_size": generation.no_repeat_ngram_size,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "early_stopping": generation.early_stopping,
        "max_decoding_length": length if reach is None else min(length, reach),
        "min_decoding_length": generation.min_decoding_length,
        "max_length_factor": 0.0,
        "max_input_length": 0,
        "stop_loops": False,
        "disable_unk": False,
        "suppress_sequences": generation.suppress_sequences,
        "bad_words_ids": (),
        "force_phrases": (),
        "allowed_tokens": (),
        "use_vmap": limits.has_shortlist,
        "end_token": ends,
        "return_end_token": False,
        "forced_bos_token_id": _or_none(generation.forced_bos_token_id),
        "forced_eos_token_id": _or_none(generation.forced_end_token_id),
        "prefix_bias_beta": 0.0,
        "return_scores": False,
        "return_attention": False,
        "attention_layer": -1,
        "attention_heads": (),
        "return_logits_vocab": False,
        "return_alternatives": False,
        "min_alternative_expansion_prob": 0.0,
        "sampling_topk": 1,
        "sampling_topp": 1.0,
        "sampling_temperature": 1.0,
        "seed": -1,
        "replace_unknowns": False,
        "max_batch_size": 0,
        "batch_type": "examples",
    }


def _or_none(token_id: int | None) -> int:
    """-1 stands for no token."""
    return -1 if token_id is None else token_id


def _conflicts(options: TranslationOptions, limits: DecodingLimits) -> Iterator[_Conflict]:
    """What contradicts another option."""
    reach = limits.max_decoding_length
    longest = options.max_decoding_length
    if reach is not None and longest > reach:
        yield (
            {"max_decoding_length"},
            f"max_decoding_length is {longest}, but the model's positions reach only {reach} tokens",
        )
    if options.min_decoding_length > longest:
        yield (
            {"min_decoding_length", "max_decoding_length"},
            f"min_decoding_length is {options.min_decoding_length}, more than "
            f"max_decoding_length, {longest}",
        )
    yield from _count_conflicts(options)
    if options.diversity_penalty > 0 and options.num_beam_groups == 1:
        yield (
            {"diversity_penalty", "num_beam_groups"},
            "diversity_penalty needs num_beam_groups of 2 or more",
        )
    if options.beam_size % options.num_beam_groups:
        yield (
            {"beam_size", "num_beam_groups"},
            f"beam_size, {options.beam_size}, is no multiple of num_beam_groups, "
            f"{options.num_beam_groups}",
        )
    if options.sampling_topk != 1:
        if options.beam_size != 1:
            yield (
                {"sampling_topk", "beam_size"},
                f"sampling needs beam_size 1, not {options.beam_size}",
            )
        if options.force_phrases:
            yield {"sampling_topk", "force_phrases"}, "force_phrases cannot be drawn at random"
    if options.return_alternatives:
        yield from _alternative_conflicts(options)


def _count_conflicts(options: TranslationOptions) -> Iterator[_Conflict]:
    """More hypotheses asked for than there can be."""
    if options.return_alternatives or options.sampling_topk != 1:
        return
    finished = max(1, math.floor(options.beam_size * options.patience + 0.5))
    if options.num_hypotheses > options.beam_size:
        yield (
            {"num_hypotheses", "beam_size"},
            f"num_hypotheses is {options.num_hypotheses}, more than beam_size, {options.beam_size}",
        )
    elif options.num_hypotheses > finished:
        yield (
            {"num_hypotheses", "patience"},
            f"num_hypotheses is {options.num_hypotheses}, but patience {options.patience:g} ends "
            f"the search after {finished}",
        )


def _alternative_conflicts(options: TranslationOptions) -> Iterator[_Conflict]:
    others = {
        "sampling_topk": options.sampling_topk != 1,
        "num_beam_groups": options.num_beam_groups != 1,
        "prefix_bias_beta": options.prefix_bias_beta > 0,
    }
    for name, is_set in others.items():
        if is_set:
            yield {"return_alternatives", name}, f"return_alternatives does not go with {name}"


def _layer_conflicts(options: TranslationOptions, limits: DecodingLimits) -> Iterator[_Conflict]:
    """Layers and heads that the model does not have."""
    layers = limits.num_layers
    if not -layers <= options.attention_layer < layers and options.return_attention:
        yield (
            {"attention_layer"},
            f"attention_layer is {options.attention_layer}, but the decoder has {layers} layers",
        )
    if any(head >= limits.num_heads for head in options.attention_heads):
        yield (
            {"attention_heads"},
            f"attention_heads has {max(options.attention_heads)}, but a layer has only "
            f"{limits.num_heads} heads, counted from 0",
        )


class _Ids:
    """The tokens and phrases of all options as ids, with those that the model does not know."""

    def __init__(self, options: TranslationOptions, limits: DecodingLimits) -> None:
        self._options = options
        self._limits = limits
        self._unknown: dict[str, list[str | int]] = {}
        self.ends = self._tokens("end_token", options.end_token)
        self.allowed = self._tokens("allowed_tokens", options.allowed_tokens)
        self.force_phrases = self._phrases("force_phrases", options.force_phrases)
        suppressed = self._phrases("suppress_sequences", options.suppress_sequences)
        # As in transformers, an end token is no bad word.
        suppressed += [
            ids
            for ids in self._phrases("bad_words_ids", options.bad_words_ids)
            if ids not in [[end] for end in self.ends]
        ]
        self.suppressed = {ids[0] for ids in suppressed if len(ids) == 1}
        self.suppressed.update(limits.generation.suppress_token_ids)
        self.suppress_sequences = [ids for ids in suppressed if len(ids) > 1]
        if options.disable_unk and (unknown := limits.unknown_id()) is not None:
            self.suppressed.add(unknown)
        if self.allowed:
            self.allowed += self.ends
            if options.forced_eos_token_id >= 0:
                self.allowed.append(options.forced_eos_token_id)

    def conflicts(self) -> Iterator[_Conflict]:
        """Tokens that the vocabulary lacks, and phrases that cannot come."""
        for name, tokens in self._unknown.items():
            missing = ", ".join(map(repr, dict.fromkeys(tokens)))
            yield {name}, f"{name}: the target vocabulary has no {missing}"
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            token_id = getattr(self._options, name)
            if token_id >= self._limits.vocab_size:
                yield (
                    {name},
                    f"{name} is {token_id}, but the ids end with {self._limits.vocab_size - 1}",
                )
        yield from self._impossible_phrases()

    def _impossible_phrases(self) -> Iterator[_Conflict]:
        total = sum(map(len, self.force_phrases))
        longest = self._options.max_decoding_length
        if total > longest:
            yield (
                {"force_phrases", "max_decoding_length"},
                f"force_phrases have {total} tokens, more than max_decoding_length, {longest}",
            )
        for phrase, ids in zip(self._options.force_phrases, self.force_phrases, strict=True):
            text = repr(phrase)
            if self.suppressed.intersection(ids) or any(
                _contains(ids, sequence) for sequence in self.suppress_sequences
            ):
                yield {"force_phrases"}, f"force_phrases: {text} holds what is suppressed"
            elif self.allowed and not set(ids) <= set(self.allowed):
                names = {"force_phrases", "allowed_tokens"}
                yield names, f"force_phrases: {text} holds what allowed_tokens lacks"
            elif set(self.ends).intersection(ids):
                yield {"force_phrases"}, f"force_phrases: {text} holds an end token"

    def _phrases(self, name: str, phrases: Sequence[Phrase]) -> list[list[int]]:
        return [
            self._limits.text_ids(phrase) if isinstance(phrase, str) else self._tokens(name, phrase)
            for phrase in phrases
        ]

    def _tokens(self, name: str, tokens: Sequence[str | int]) -> list[int]:
        ids = []
        for token in tokens:
            token_id = self._id(token)
            if token_id is None:
                self._unknown.setdefault(name, []).append(token)
            else:
                ids.append(token_id)
        return ids

    def _id(self, token: str | int) -> int | None:
        if isinstance(token, str):
            return self._limits.target_id(token)
        return token if token < self._limits.vocab_size else None


def _contains(ids: Sequence[int], part: Sequence[int]) -> bool:
    size = len(part)
    return any(list(ids[i : i + size]) == list(part) for i in range(len(ids) - size + 1))


# Fields of the engine's options that are called as ours and take our values as they are.
_SAME = (
    "beam_size", "patience", "num_hypotheses", "length_penalty", "coverage_penalty",
    "repetition_penalty", "no_repeat_ngram_size", "num_beam_groups", "diversity_penalty",
    "max_decoding_length", "min_decoding_length", "max_length_factor", "prefix_bias_beta",
    "return_alternatives", "min_alternative_expansion_prob", "stop_loops", "sampling_topk",
    "sampling_topp", "sampling_temperature", "return_scores", "return_end_token",
    "attention_heads", "forced_bos_token_id",
)  # fmt: skip


def _search_options(
    options: TranslationOptions, limits: DecodingLimits, ids: _Ids
) -> _native.SearchOptions:
    search = _native.SearchOptions()
    for name in _SAME:
        setattr(search, name, getattr(options, name))
    search.early_stopping = _EARLY_STOPPING[options.early_stopping]
    search.return_attention = options.return_attention or options.replace_unknowns
    search.return_logits = options.return_logits_vocab
    search.attention_layer = options.attention_layer % max(1, limits.num_layers)
    search.decoder_start_token_id = limits.generation.decoder_start_token_id
    search.end_token_ids = ids.ends
    # An end token forced at the maximum length must be one that ends the hypothesis.
    forced = options.forced_eos_token_id
    search.forced_end_token_id = forced if forced in ids.ends else -1
    search.suppress_token_ids = sorted(ids.suppressed)
    search.suppress_sequences = ids.suppress_sequences
    search.max_batch_size = options.max_batch_size or _BATCH[options.batch_type]
    search.batch_by_tokens = options.batch_type == "tokens"
    return search
