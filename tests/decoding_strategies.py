"""Hypothesis strategies for decoding: options of all kinds that may stand together.

What the options leave open is not drawn: phrases beside rules that may forbid them, loops that are
cut beside groups of beams, a bias towards a prefix that is forbidden. So a translation that keeps
all rules can always be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from random_models import END
from reference_rules import ReferenceOptions, Tokens

Values = dict[str, Any]

# So many tokens stay free that rules against repetition never leave none.
_LEAST_WORDS = 9


@dataclass(frozen=True)
class Case:
    """A random model (`random_models.lively_checkpoint`), sources with end tokens, and options."""

    seed: int
    vocab_size: int
    sources: list[list[int]]
    options: ReferenceOptions


@st.composite
def cases(draw: st.DrawFn, *, sampling: bool = False) -> Case:
    """Sources of 1 to 12 tokens and options of one search, or of random samples."""
    vocab_size = draw(st.integers(12, 30))
    tokens = st.integers(1, vocab_size - 1)
    texts = draw(st.lists(st.lists(tokens, max_size=11), min_size=1, max_size=5))
    sources = [[*text, END] for text in texts]
    shortest = min(map(len, sources))
    decoding = draw(options(vocab_size, shortest, sampling=sampling))
    return Case(draw(st.integers(0, 3)), vocab_size, sources, decoding)


@st.composite
def options(
    draw: st.DrawFn, vocab_size: int, shortest_source: int, *, sampling: bool = False
) -> ReferenceOptions:
    """Options for a model whose last token starts a translation."""
    start = vocab_size - 1
    values: Values = {"start_id": start, **draw(_lengths(vocab_size)), **draw(_scores)}
    limit = ReferenceOptions(**values).limit(shortest_source)
    words = [token for token in range(start) if token not in values["end_ids"]]
    values |= draw(_samples) if sampling else draw(_beams())
    many = values["beam_size"] > 1 and "num_beam_groups" not in values
    values |= draw(_beginning(words, limit, bias=many and "return_alternatives" not in values))
    room = limit - ("forced_bos_id" in values) - len(values.get("target_prefix", ()))
    if many and room and draw(st.integers(0, 2)) == 0:
        values |= draw(_phrases(words, room))
    elif "prefix_bias_beta" not in values:
        values |= draw(_repetition(vocab_size, values))
    values |= draw(_forbidden(words, values))
    if not values.get("diversity_penalty"):
        values["renormalize_logits"] = draw(st.booleans())
    return ReferenceOptions(**values)


@st.composite
def _lengths(draw: st.DrawFn, vocab_size: int) -> Values:
    longest = draw(st.integers(1, 12))
    ends = st.one_of(st.just((END,)), st.tuples(st.integers(1, vocab_size - 2), st.just(END)))
    return {
        "end_ids": draw(ends),
        "forced_end_id": draw(st.sampled_from([None, END])),
        "max_decoding_length": longest,
        # No more than 7, since a loop that is cut has 8 tokens.
        "min_decoding_length": draw(st.integers(0, min(longest, 7))),
        # Sums of powers of two, whose products are the same in all number formats.
        "max_length_factor": draw(st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.25, 2.0])),
    }


_scores: st.SearchStrategy[Values] = st.fixed_dictionaries(
    {
        "length_penalty": st.sampled_from([-0.5, 0.0, 0.6, 1.0, 2.0]),
        "coverage_penalty": st.sampled_from([0.0, 0.2, 1.0]),
        "repetition_penalty": st.sampled_from([1.0, 0.7, 1.2, 2.0]),
    }
)

_samples: st.SearchStrategy[Values] = st.fixed_dictionaries(
    {
        "beam_size": st.just(1),
        "num_hypotheses": st.integers(1, 4),
        "sampling_topk": st.sampled_from([0, 2, 5, 10]),
        "sampling_topp": st.sampled_from([0.3, 0.8, 1.0]),
        "sampling_temperature": st.sampled_from([0.5, 1.0, 1.7]),
    }
)


@st.composite
def _beams(draw: st.DrawFn) -> Values:
    """Greedy search, beams, groups of beams, alternatives."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    size = draw(st.integers(1, 4))
    beam_size = groups * size
    # Not every product is a whole number, and what would be rounded is not drawn.
    patience = draw(st.sampled_from([p for p in (1.0, 0.5, 1.5, 2.0) if size * p % 1 == 0]))
    kept = groups * max(1, int(size * patience)) if beam_size > 1 else 1
    values: Values = {
        "beam_size": beam_size,
        "patience": patience,
        "num_hypotheses": draw(st.integers(1, min(beam_size, kept))),
        "early_stopping": draw(st.sampled_from([False, True, "never"])),
        "beam_rule": draw(st.sampled_from(["generate", "generate", "marian"])),
    }
    if groups > 1:
        values |= {
            "num_beam_groups": groups,
            "diversity_penalty": draw(st.sampled_from([0.0, 0.5, 3.0])),
        }
    if groups == 1 and draw(st.integers(0, 3)) == 0:
        values |= {
            "return_alternatives": True,
            "num_hypotheses": draw(st.integers(1, 6)),
            "min_alternative_expansion_prob": draw(st.sampled_from([0.0, 0.01, 0.2])),
        }
    return values


@st.composite
def _beginning(draw: st.DrawFn, words: list[int], limit: int, *, bias: bool) -> Values:
    """A prefix, forced or made likely, or a first token, or nothing."""
    kind = draw(st.sampled_from(["free", "prefix", "token", *["bias"] * 2 * bias]))
    word = st.sampled_from(words)
    if kind == "token":
        return {"forced_bos_id": draw(word)}
    most = min(4, limit - 1)
    if kind == "free" or not most:
        return {}
    values: Values = {"target_prefix": draw(_tokens(word, most))}
    if kind == "bias":
        values["prefix_bias_beta"] = draw(st.sampled_from([0.1, 0.5, 0.9]))
    return values


@st.composite
def _phrases(draw: st.DrawFn, words: list[int], room: int) -> Values:
    """Phrases that fit in the room, one behind the other."""
    phrases: list[Tokens] = []
    while room and len(phrases) < 3 and (not phrases or draw(st.booleans())):
        phrases.append(draw(_tokens(st.sampled_from(words), min(room, 4))))
        room -= len(phrases[-1])
    return {"force_phrases": tuple(phrases)}


@st.composite
def _repetition(draw: st.DrawFn, vocab_size: int, values: Values) -> Values:
    token = st.integers(0, vocab_size - 1)
    # That no token comes twice needs more words than there are places.
    sizes = [0, 0, 2, 3, *[1] * (values["max_decoding_length"] < vocab_size - 6)]
    return {
        "no_repeat_ngram_size": draw(st.sampled_from(sizes)),
        "suppress_sequences": tuple(draw(st.lists(_tokens(token, 3), max_size=2))),
        "stop_loops": "num_beam_groups" not in values and draw(st.booleans()),
    }


@st.composite
def _forbidden(draw: st.DrawFn, words: list[int], values: Values) -> Values:
    """Tokens that never come, or those that may come; the end token is one like others."""
    decoding = ReferenceOptions(**values)
    needed = {token for phrase in decoding.force_phrases for token in phrase}
    only = draw(st.booleans())
    if only or decoding.prefix_bias_beta:
        needed |= {*decoding.target_prefix, *decoding.first_forced}
    least = decoding.max_decoding_length + 3 if decoding.no_repeat_ngram_size == 1 else _LEAST_WORDS
    spare = draw(st.permutations([word for word in words if word not in needed]))
    dropped = spare[: draw(st.integers(0, max(0, len(words) - least)))]
    if only:
        rest = [word for word in words if word not in dropped]
        return {"allowed_ids": tuple(sorted([*rest, *decoding.end_ids]))}
    others = draw(st.sets(st.sampled_from([END, decoding.start_id])))
    return {"suppressed_ids": (*dropped, *sorted(others))}


def _tokens(word: st.SearchStrategy[int], most: int) -> st.SearchStrategy[Tokens]:
    return st.lists(word, min_size=1, max_size=most).map(tuple)
