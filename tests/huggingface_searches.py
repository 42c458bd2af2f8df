"""Searches by transformers' `generate` under the options of the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from huggingface_peer import padded
from reference_rules import ReferenceOptions, Tokens

# Ids, whether an end token came, and the score, which greedy search has not: nan.
Found = tuple[Tokens, bool, float]


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    sources: Sequence[Sequence[int]],
    options: ReferenceOptions,
    **changes: Any,
) -> Any:
    """What `generate` returns; `changes` are arguments of its own."""
    bad = [*([token] for token in options.suppressed_ids), *options.suppress_sequences]
    inputs = padded(model, sources)
    start = [[options.start_id, *options.target_prefix]] * len(sources)
    arguments = {
        "num_beams": options.beam_size,
        "num_return_sequences": options.num_hypotheses,
        "length_penalty": options.length_penalty,
        "early_stopping": options.early_stopping,
        "max_length": options.max_decoding_length + 1 + (options.forced_end_id is not None),
        "min_length": options.min_decoding_length + 1 if options.min_decoding_length else 0,
        "eos_token_id": list(options.end_ids),
        "forced_eos_token_id": options.forced_end_id,
        "forced_bos_token_id": options.forced_bos_id,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "renormalize_logits": options.renormalize_logits,
        "bad_words_ids": [list(words) for words in bad],
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_scores": True,
        **changes,
    }
    return model.generate(**inputs, decoder_input_ids=torch.tensor(start), **arguments)


def search(
    model: PreTrainedModel, sources: Sequence[Sequence[int]], options: ReferenceOptions
) -> list[list[Found]]:
    """The hypotheses of each source; the padding token must be suppressed."""
    output = generate(model, sources, options)
    rows = output.sequences.tolist()
    beams = options.beam_size > 1
    scores = output.sequences_scores.tolist() if beams else [math.nan] * len(rows)
    padding = model.generation_config.pad_token_id
    found = []
    for row, score in zip(rows, scores, strict=True):
        tokens = row[1:]  # the start token may be an end token too
        ends = [i for i, token in enumerate(tokens) if token in options.end_ids]
        ids = tokens[: ends[0]] if ends else [token for token in tokens if token != padding]
        found.append((tuple(ids), bool(ends), score))
    count = options.num_hypotheses
    return [found[i : i + count] for i in range(0, len(found), count)]
