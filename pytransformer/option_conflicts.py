"""What contradicts another option, or what the model can do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from pytransformer.decoding_limits import DecodingLimits
from pytransformer.option_tokens import OptionTokens
from pytransformer.options import TranslationOptions

# The options that are to blame, and what is wrong.
Conflict: TypeAlias = tuple[set[str], str]


def conflicts(
    options: TranslationOptions,
    limits: DecodingLimits,
    tokens: OptionTokens,
    given: Collection[str],
) -> Iterator[Conflict]:
    """All contradictions; `given` names the options that are not the checkpoint's."""
    yield from _lengths(options, limits)
    yield from _beams(options, limits)
    yield from _ctranslate2(options)
    yield from _counts(options)
    yield from _sampling(options)
    yield from _alternatives(options)
    yield from _model(options, limits)
    yield from _source(options, limits)
    yield from _tokens(options, limits, tokens, given)
    yield from _phrases(options, tokens)


def _lengths(options: TranslationOptions, limits: DecodingLimits) -> Iterator[Conflict]:
    reach = limits.max_decoding_length
    longest, shortest = options.max_decoding_length, options.min_decoding_length
    if reach is not None and longest > reach:
        text = f"max_decoding_length is {longest}, but the model's positions reach only {reach}"
        yield {"max_decoding_length"}, f"{text} tokens"
    if shortest > longest:
        text = f"min_decoding_length is {shortest}, more than max_decoding_length, {longest}"
        yield {"min_decoding_length", "max_decoding_length"}, text


def _beams(options: TranslationOptions, limits: DecodingLimits) -> Iterator[Conflict]:
    beams, groups = options.beam_size, options.num_beam_groups
    if beams > limits.vocab_size:
        text = f"beam_size is {beams}, but the vocabulary has only {limits.vocab_size} tokens"
        yield {"beam_size"}, text
    if beams % groups:
        text = f"num_beam_groups is {groups}, but beam_size, {beams}, is no multiple of it"
        yield {"beam_size", "num_beam_groups"}, text
    if options.diversity_penalty > 0 and groups == 1:
        text = "diversity_penalty needs num_beam_groups of 2 or more"
        yield {"diversity_penalty", "num_beam_groups"}, text
    if options.diversity_penalty > 0 and options.renormalize_logits:
        text = "renormalize_logits, which may be the checkpoint's, does not go with"
        yield {"renormalize_logits", "diversity_penalty"}, f"{text} diversity_penalty"


def _ctranslate2(options: TranslationOptions) -> Iterator[Conflict]:
    """What CTranslate2's beam search has not, or does in a search of another kind."""
    others = {
        "num_beam_groups": options.num_beam_groups != 1,
        "return_alternatives": options.return_alternatives,
        "force_phrases": bool(options.force_phrases),
    }
    for name, is_set in others.items():
        if is_set and options.beam_rule == "ctranslate2":
            yield {"beam_rule", name}, f"beam_rule 'ctranslate2' does not go with {name}"


def _counts(options: TranslationOptions) -> Iterator[Conflict]:
    """More hypotheses asked for than there can be."""
    if options.return_alternatives or options.sampling_topk != 1:
        return
    count, groups = options.num_hypotheses, options.num_beam_groups
    patience = 1.0 if options.beam_rule == "marian" else options.patience
    in_group = math.floor(options.beam_size // groups * patience + 0.5)
    finished = groups * max(1, in_group)
    if count > options.beam_size and options.beam_rule != "ctranslate2":
        text = f"num_hypotheses is {count}, more than beam_size, {options.beam_size}"
        yield {"num_hypotheses", "beam_size"}, text
    elif count > finished:
        text = f"num_hypotheses is {count}, but patience {options.patience:g} ends the search after"
        yield {"num_hypotheses", "patience", "num_beam_groups"}, f"{text} {finished}"


def _sampling(options: TranslationOptions) -> Iterator[Conflict]:
    if options.sampling_topk != 1:
        if options.beam_size != 1:
            text = f"sampling needs beam_size 1, not {options.beam_size}"
            yield {"sampling_topk", "beam_size"}, text
        if options.force_phrases:
            yield {"sampling_topk", "force_phrases"}, "force_phrases cannot be drawn at random"
        return
    for name in ("sampling_topp", "sampling_temperature"):
        if getattr(options, name) != 1:
            text = f"{name} needs sampling_topk: 0 draws from all tokens, 1 takes the best"
            yield {name, "sampling_topk"}, text


def _alternatives(options: TranslationOptions) -> Iterator[Conflict]:
    if not options.return_alternatives:
        if options.min_alternative_expansion_prob > 0:
            text = "min_alternative_expansion_prob needs return_alternatives"
            yield {"min_alternative_expansion_prob", "return_alternatives"}, text
        return
    others = {
        "sampling_topk": options.sampling_topk != 1,
        "num_beam_groups": options.num_beam_groups != 1,
        "prefix_bias_beta": options.prefix_bias_beta > 0,
    }
    for name, is_set in others.items():
        if is_set:
            yield {"return_alternatives", name}, f"return_alternatives does not go with {name}"


def _model(options: TranslationOptions, limits: DecodingLimits) -> Iterator[Conflict]:
    """Layers, heads and a shortlist that are not there."""
    layers, heads = limits.num_layers, limits.num_heads
    layer = options.attention_layer
    wanted = options.return_attention or options.replace_unknowns or layer != -1
    if wanted and not -layers <= layer < layers:
        text = f"attention_layer is {layer}, but the decoder has {layers} layers"
        yield {"attention_layer"}, text
    if any(head >= heads for head in options.attention_heads):
        head = max(options.attention_heads)
        text = f"attention_heads has {head}, but a layer has {heads} heads, counted from 0"
        yield {"attention_heads"}, text
    if options.use_vmap and not limits.has_shortlist:
        text = "use_vmap: this translator has no shortlist; open it with Translator(shortlist=...)"
        yield {"use_vmap"}, text


# What concerns a source, or what comes between it and the first token.
_OF_SOURCES = (
    "coverage_penalty", "decoder_start_token_id", "max_length_factor", "max_input_length",
    "prefix_bias_beta", "replace_unknowns", "return_attention",
)  # fmt: skip


def _source(options: TranslationOptions, limits: DecodingLimits) -> Iterator[Conflict]:
    for name in _OF_SOURCES if not limits.has_encoder else ():
        if getattr(options, name) != limits.defaults[name]:
            yield {name}, f"{name} needs an encoder, and this model is a decoder alone"


def _tokens(
    options: TranslationOptions,
    limits: DecodingLimits,
    tokens: OptionTokens,
    given: Collection[str],
) -> Iterator[Conflict]:
    """Tokens that the vocabulary lacks, and those that cannot be what they are asked to be."""
    for name, missing in tokens.unknown.items():
        unknown = ", ".join(map(repr, dict.fromkeys(missing)))
        yield {name}, f"{name}: the target vocabulary has no {unknown}"
    for name in ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id"):
        if (token_id := getattr(options, name)) >= limits.vocab_size:
            yield {name}, f"{name} is {token_id}, but the ids end with {limits.vocab_size - 1}"
    first, forced = options.forced_bos_token_id, options.forced_eos_token_id
    if first in tokens.ends:
        text = f"forced_bos_token_id is {first}, which ends a translation"
        yield {"forced_bos_token_id", "end_token"}, text
    if "forced_eos_token_id" in given and forced not in tokens.ends and forced < limits.vocab_size:
        text = f"forced_eos_token_id is {forced}, which is none of the end tokens, {tokens.ends}"
        yield {"forced_eos_token_id", "end_token"}, text
    yield from _choice(options, limits, tokens)


def _choice(
    options: TranslationOptions, limits: DecodingLimits, tokens: OptionTokens
) -> Iterator[Conflict]:
    """Whether any token is left to choose from."""
    names = {"allowed_tokens", "suppress_sequences", "bad_words_ids", "disable_unk", "end_token"}
    if not _leaves_any(tokens.suppressed, limits, tokens):
        yield names, "suppress_sequences, bad_words_ids and allowed_tokens leave no token"
    elif options.min_decoding_length > 0 and not _leaves_any(
        tokens.suppressed.union(tokens.ends), limits, tokens
    ):
        names.add("min_decoding_length")
        text = f"min_decoding_length is {options.min_decoding_length}, but allowed_tokens and"
        yield names, f"{text} suppress_sequences leave only end tokens"


def _leaves_any(forbidden: set[int], limits: DecodingLimits, tokens: OptionTokens) -> bool:
    if tokens.allowed:
        return not forbidden.issuperset(tokens.allowed)
    return len(forbidden) < limits.vocab_size


def _phrases(options: TranslationOptions, tokens: OptionTokens) -> Iterator[Conflict]:
    """Phrases that must come and cannot."""
    total = sum(map(len, tokens.force_phrases))
    longest = options.max_decoding_length
    if total > longest:
        text = f"force_phrases have {total} tokens, more than max_decoding_length, {longest}"
        yield {"force_phrases", "max_decoding_length"}, text
    suppressing = {"suppress_sequences", "bad_words_ids", "disable_unk"}
    for phrase, ids in zip(options.force_phrases, tokens.force_phrases, strict=True):
        blamed = f"force_phrases: {phrase!r} holds"
        if tokens.suppressed.intersection(ids) or any(
            _contains(ids, sequence) for sequence in tokens.suppress_sequences
        ):
            yield {"force_phrases", *suppressing}, f"{blamed} what is suppressed"
        elif tokens.allowed and not set(ids) <= set(tokens.allowed):
            yield {"force_phrases", "allowed_tokens"}, f"{blamed} what allowed_tokens lacks"
        elif set(tokens.ends).intersection(ids):
            yield {"force_phrases", "end_token"}, f"{blamed} an end token"


def _contains(ids: Sequence[int], part: Sequence[int]) -> bool:
    size = len(part)
    return any(list(ids[i : i + size]) == list(part) for i in range(len(ids) - size + 1))
