"""What a model says about the options of decoding: its defaults and its bounds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytransformer.model_spec import GenerationSpec


@dataclass(frozen=True)
class DecodingLimits:
    """A model's defaults and bounds.

    ``max_source_length`` counts the end token, ``max_decoding_length`` does not; None where the
    model's positions set no bound. ``target_id`` gives a target token's id, None if there is none;
    ``text_ids`` those of a text in the target language, ``unknown_id`` that of ``<unk>``.
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
    has_encoder: bool = True

    @functools.cached_property
    def defaults(self) -> Mapping[str, Any]:
        """What options are that nobody gives."""
        return _defaults(self)


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
        "renormalize_logits": generation.renormalize_logits,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "early_stopping": generation.early_stopping,
        "beam_rule": generation.beam_rule,
        "max_decoding_length": length if reach is None else min(length, reach),
        "min_decoding_length": generation.min_decoding_length,
        "max_length_factor": generation.max_length_factor,
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
        "decoder_start_token_id": generation.decoder_start_token_id,
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
