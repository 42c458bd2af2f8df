"""The engine's searches under the reference's options, and what the reference makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pytransformer import _native
from random_models import search_options
from reference_rules import ReferenceHypothesis, ReferenceOptions, Tokens
from reference_search import Array, EngineModel

_EARLY_STOPPING = {False: 0, True: 1, "never": 2}
_BEAM_RULES = {"generate": 0, "marian": 1}
_NONE = -1

_SAME = (
    "beam_size", "patience", "num_hypotheses", "length_penalty", "coverage_penalty",
    "repetition_penalty", "no_repeat_ngram_size", "suppress_sequences", "min_decoding_length",
    "max_decoding_length", "max_length_factor", "prefix_bias_beta", "num_beam_groups",
    "diversity_penalty", "renormalize_logits", "return_alternatives",
    "min_alternative_expansion_prob", "stop_loops",
    "sampling_topk", "sampling_topp", "sampling_temperature",
)  # fmt: skip


def native_options(options: ReferenceOptions, **changes: Any) -> _native.SearchOptions:
    """The same options as the engine takes them, with single ones of its own changed."""
    forced, first = options.forced_end_id, options.forced_bos_id
    return search_options(
        options.start_id,
        **{name: getattr(options, name) for name in _SAME},
        early_stopping=_EARLY_STOPPING[options.early_stopping],
        beam_rule=_BEAM_RULES[options.beam_rule],
        end_token_ids=options.end_ids,
        forced_end_token_id=_NONE if forced is None else forced,
        forced_bos_token_id=_NONE if first is None else first,
        suppress_token_ids=options.suppressed_ids,
        **changes,
    )


def native_request(
    source: Sequence[int], options: ReferenceOptions, seed: int = 0
) -> _native.Request:
    allowed = None if options.allowed_ids is None else _native.TokenList(options.allowed_ids)
    return _native.Request(source, options.target_prefix, options.force_phrases, allowed, seed)


def run(
    engine: _native.Engine,
    sources: Sequence[Sequence[int]],
    options: ReferenceOptions,
    **changes: Any,
) -> list[list[_native.Hypothesis]]:
    """What the engine finds for each source."""
    requests = [native_request(source, options) for source in sources]
    return engine.submit(requests, native_options(options, **changes)).result()


def plain(found: Sequence[_native.Hypothesis]) -> list[ReferenceHypothesis]:
    """Hypotheses of the engine, found without return_end_token, as the reference has them."""
    hypotheses = []
    for hypothesis in found:
        assert hypothesis.reason != "stop"
        ids = tuple(hypothesis.ids)
        hypotheses.append(ReferenceHypothesis(ids, hypothesis.score, hypothesis.reason))
    return hypotheses


def last_attention(engine: _native.Engine, source: Sequence[int], tokens: Tokens) -> Array:
    """What the last of the tokens attends to in the last layer, on average over its heads."""
    cross = engine.attention(source, list(tokens))[2]
    return cross[-1, :, -1].astype(np.float64).mean(axis=0)


def engine_model(engine: _native.Engine, source: Sequence[int]) -> EngineModel:
    """The engine's numbers for the reference, attention included."""
    return EngineModel(engine, source, lambda tokens: last_attention(engine, source, tokens))
