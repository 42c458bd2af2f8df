"""Searches by transformers' `generate`, and what its scores say where ours differ."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import MarianMTModel

from pytransformer import _native

Hypothesis = tuple[list[int], float]
_EARLY_STOPPING = {False: 0, True: 1, "never": 2}


@dataclass(frozen=True)
class Search:
    """Options of one search; lengths count tokens without start and end token."""

    beam_size: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    num_hypotheses: int = 1
    max_length: int = 30
    min_length: int = 0
    forced_end: bool = True
    suppressed: tuple[int, ...] = ()

    @property
    def most_tokens(self) -> int:
        """Tokens of the longest hypothesis; a forced end token comes on top of the others."""
        return self.max_length + int(self.forced_end)


@dataclass(frozen=True)
class Difference:
    """A hypothesis that is not the same in both, and how far apart they score."""

    sentence: int
    rank: int
    ours: list[int]
    theirs: list[int]
    gap: float


def engine_options(model: MarianMTModel, search: Search, **changes: Any) -> _native.SearchOptions:
    """The options as the engine takes them."""
    config = model.generation_config
    values = {
        "beam_size": search.beam_size,
        "num_hypotheses": search.num_hypotheses,
        "length_penalty": search.length_penalty,
        "early_stopping": _EARLY_STOPPING[search.early_stopping],
        "max_decoding_length": search.max_length,
        "min_decoding_length": search.min_length,
        "return_scores": True,
        "decoder_start_token_id": config.decoder_start_token_id,
        "end_token_ids": [config.eos_token_id],
        "forced_end_token_id": config.eos_token_id if search.forced_end else -1,
        "suppress_token_ids": search.suppressed,
        "max_batch_size": 64,
        "batch_by_tokens": False,
    }
    options = _native.SearchOptions()
    for name, value in {**values, **changes}.items():
        setattr(options, name, value)
    return options


@torch.inference_mode()
def generate(
    model: MarianMTModel, sources: Sequence[Sequence[int]], search: Search
) -> list[list[Hypothesis]]:
    """What `generate` gives for each source; greedy search has no scores there, so they are 0.

    Its lengths count the start token and the end token. The padding token must be suppressed, or
    never come, since `generate` fills up hypotheses that stop without an end token with it.
    """
    end = model.generation_config.eos_token_id
    output = model.generate(
        **padded(model, sources),
        num_beams=search.beam_size,
        num_return_sequences=search.num_hypotheses,
        length_penalty=search.length_penalty,
        early_stopping=search.early_stopping,
        max_length=search.most_tokens + 1,
        min_length=search.min_length + 1 if search.min_length else 0,
        forced_eos_token_id=end if search.forced_end else None,
        bad_words_ids=[[token] for token in search.suppressed] or None,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    padding = model.generation_config.pad_token_id
    ids = [_content(row, end, padding) for row in output.sequences.tolist()]
    scores = [0.0] * len(ids) if search.beam_size == 1 else output.sequences_scores.tolist()
    pairs = list(zip(ids, scores, strict=True))
    return [pairs[i : i + search.num_hypotheses] for i in range(0, len(ids), search.num_hypotheses)]


def in_double(model: MarianMTModel) -> MarianMTModel:
    """A copy that computes in float64."""
    return copy.deepcopy(model).double()


@torch.inference_mode()
def log_probabilities(
    model: MarianMTModel, source: Sequence[int], target: Sequence[int]
) -> torch.Tensor:
    """Log-probabilities [len(target) + 1, vocab_size] of what follows each prefix of `target`."""
    start = model.generation_config.decoder_start_token_id
    output = model(
        input_ids=torch.tensor([list(source)]), decoder_input_ids=torch.tensor([[start, *target]])
    )
    return torch.log_softmax(output.logits[0], dim=-1)


def score(model: MarianMTModel, source: Sequence[int], ids: Sequence[int], search: Search) -> float:
    """What a hypothesis scores: its log-probability over its length to the length penalty."""
    end = model.generation_config.eos_token_id
    tokens = [*ids, end] if search.forced_end or len(ids) < search.max_length else list(ids)
    steps = log_probabilities(model, source, ids)[: len(tokens)]
    values = steps.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    if search.forced_end and len(tokens) == search.most_tokens:
        values[-1] = 0.0  # a token that is forced has probability 1
    return float(values.sum()) / len(tokens) ** search.length_penalty


def differences(
    model: MarianMTModel,
    sources: Sequence[Sequence[int]],
    ours: Sequence[Sequence[Hypothesis]],
    theirs: Sequence[Sequence[Hypothesis]],
    search: Search,
) -> list[Difference]:
    """All hypotheses that differ; `model` judges, best in float64.

    In greedy search the gap is between the two tokens where the ways part, since what follows
    depends on it. In beam search it is between the scores of the whole hypotheses.
    """
    found = []
    for index, (source, mine, others) in enumerate(zip(sources, ours, theirs, strict=True)):
        for rank, ((a, _), (b, _)) in enumerate(zip(mine, others, strict=True)):
            if a != b:
                gap = (
                    _parting(model, source, a, b)
                    if search.beam_size == 1
                    else abs(score(model, source, a, search) - score(model, source, b, search))
                )
                found.append(Difference(index, rank, a, b, gap))
    return found


def _parting(model: MarianMTModel, source: Sequence[int], a: list[int], b: list[int]) -> float:
    end = model.generation_config.eos_token_id
    common = 0
    while a[common : common + 1] == b[common : common + 1]:
        common += 1
    step = log_probabilities(model, source, a[:common])[-1]
    first, second = ([*ids, end][common] for ids in (a, b))
    return abs(float(step[first] - step[second]))


def padded(model: MarianMTModel, sources: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    longest = max(map(len, sources))
    padding = model.config.pad_token_id
    ids = [[*source, *[padding] * (longest - len(source))] for source in sources]
    mask = [[1] * len(source) + [0] * (longest - len(source)) for source in sources]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def _content(row: list[int], end: int, padding: int) -> list[int]:
    """A hypothesis without start token, end token and what fills it up."""
    ids = row[1:]
    if end in ids:
        return ids[: ids.index(end)]
    while ids and ids[-1] == padding:
        ids.pop()
    return ids
