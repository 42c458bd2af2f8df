"""Checks the options of a call together and makes of them what the engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from pytransformer import _native
from pytransformer.decoding_limits import DecodingLimits
from pytransformer.errors import OptionError
from pytransformer.option_conflicts import conflicts
from pytransformer.option_rules import check
from pytransformer.option_tokens import OptionTokens
from pytransformer.options import OPTIONS, OTHER_NAMES, TranslationOptions

__all__ = ["Decoding", "DecodingLimits", "Resolver", "resolve"]

# How much is translated at once unless the caller says otherwise: enough rows to keep the matrix
# multiplications at full speed. Results do not depend on it.
_BATCH = {"examples": 64, "tokens": 2048}

# Values that never change; True and 1 are equal, so types are compared too.
_PLAIN = frozenset((bool, int, float, str, type(None)))
_Key: TypeAlias = tuple[object, ...]
_MOST_RESOLVED = 64

_BEAM_RULES = {"generate": 0, "marian": 1, "ctranslate2": 2}
_EARLY_STOPPING: dict[bool | str, int] = {False: 0, True: 1, "never": 2}


class Decoding(NamedTuple):
    """Checked options, and the same as the engine takes them."""

    options: TranslationOptions
    search: _native.SearchOptions
    force_phrases: list[list[int]]
    force_words: list[list[int]]  # likewise; their last word must end with them
    allowed: list[int]

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.options.sampling_topk != 1


class Resolver:
    """Checks options for one model; see :func:`resolve`. May be called from several threads."""

    def __init__(self, limits: DecodingLimits) -> None:
        self._limits = limits
        # Most programs give the same few options again and again.
        self._resolved: dict[_Key, Decoding] = {}

    def __call__(self, arguments: Mapping[str, object]) -> Decoding:
        key = _key(arguments)
        if key is None:
            return resolve(arguments, self._limits)
        found = self._resolved.get(key)
        if found is None:
            found = resolve(arguments, self._limits)
            if len(self._resolved) >= _MOST_RESOLVED:
                self._resolved.clear()
            self._resolved[key] = found
        # Whoever asks may change what the engine takes.
        options, search, force_phrases, force_words, allowed = found
        search = _native.SearchOptions(search)
        return Decoding(options, search, force_phrases, force_words, allowed)


def _key(arguments: Mapping[str, object]) -> _Key | None:
    """What calls with the same options have in common; None where a value may change."""
    kinds = tuple(map(type, arguments.values()))
    if not _PLAIN.issuperset(kinds):
        return None
    return (*arguments.items(), *kinds)


def resolve(arguments: Mapping[str, object], limits: DecodingLimits) -> Decoding:
    """Checks options by name and fills in the checkpoint's defaults.

    Raises:
        OptionError: one for all that is wrong: unknown names (with the nearest known one), values
            of a wrong type or out of bounds, and values that contradict another or the model.
    """
    given = {
        name: value for name, value in arguments.items() if value is not None or name not in OPTIONS
    }
    values, problems = check(OPTIONS, given, OTHER_NAMES)
    broken = given.keys() - values.keys()
    sampling = {"beam_size": 1} if values.get("sampling_topk", 1) != 1 else {}
    options = TranslationOptions(**{**limits.defaults, **sampling, **values})
    tokens = OptionTokens(options, limits)
    # What is broken by itself is not blamed for contradictions too.
    problems += [
        text
        for names, text in conflicts(options, limits, tokens, values)
        if names.isdisjoint(broken)
    ]
    if problems:
        raise OptionError("; ".join(problems))
    search = _search_options(options, limits, tokens)
    phrases = list(zip(options.force_phrases, tokens.force_phrases, strict=True))
    return Decoding(
        options,
        search,
        force_phrases=[ids for phrase, ids in phrases if not isinstance(phrase, str)],
        force_words=[ids for phrase, ids in phrases if isinstance(phrase, str)],
        allowed=tokens.allowed,
    )


# Fields of the engine's options that are called as ours and take our values as they are.
_SAME = (
    "beam_size", "patience", "num_hypotheses", "length_penalty", "coverage_penalty",
    "repetition_penalty", "no_repeat_ngram_size", "renormalize_logits", "num_beam_groups",
    "diversity_penalty",
    "max_decoding_length", "min_decoding_length", "max_length_factor", "prefix_bias_beta",
    "return_alternatives", "min_alternative_expansion_prob", "stop_loops", "sampling_topk",
    "sampling_topp", "sampling_temperature", "return_scores", "return_end_token",
    "attention_heads", "forced_bos_token_id", "decoder_start_token_id",
)  # fmt: skip


def _search_options(
    options: TranslationOptions, limits: DecodingLimits, tokens: OptionTokens
) -> _native.SearchOptions:
    search = _native.SearchOptions()
    for name in _SAME:
        setattr(search, name, getattr(options, name))
    search.early_stopping = _EARLY_STOPPING[options.early_stopping]
    search.beam_rule = _BEAM_RULES[options.beam_rule]
    search.return_attention = options.return_attention or options.replace_unknowns
    search.return_logits = options.return_logits_vocab
    search.attention_layer = options.attention_layer % max(1, limits.num_layers)
    search.end_token_ids = tokens.ends
    # The checkpoint's forced end token must not come where the caller has other end tokens.
    forced = options.forced_eos_token_id
    search.forced_end_token_id = forced if forced in tokens.ends else -1
    search.suppress_token_ids = sorted(tokens.suppressed)
    search.suppress_sequences = tokens.suppress_sequences
    search.max_batch_size = options.max_batch_size or _BATCH[options.batch_type]
    search.batch_by_tokens = options.batch_type == "tokens"
    return search
