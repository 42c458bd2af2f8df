"""Options of a translation, declared once; :mod:`pytransformer.decoding` checks them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytransformer.option_rules import (
    FLAG,
    Choice,
    Integer,
    Integers,
    Number,
    Phrases,
    Tokens,
    option,
    option_infos,
)

MAX_BEAM_SIZE = 1024

# A phrase of the target language: text, or tokens or ids.
Phrase: TypeAlias = str | tuple[str | int, ...]

_MOST = 2**31 - 1
_COUNT = Integer(0, _MOST)


@dataclass(frozen=True)
class TranslationOptions:
    """Options of decoding, named as CTranslate2 or Hugging Face names them; all have a value here.

    A caller gives some of them by keyword; those that are not given, or None, come from the
    checkpoint. Lengths count tokens without start and end token. docs/decoding.md says more.
    """

    beam_size: int = option(
        Integer(1, MAX_BEAM_SIZE),
        "hypotheses kept at each step; 1 is greedy search",
        flags=("--beam-size",),
    )
    patience: float = option(
        Number(0, 100, above=True),
        "beam search gathers beam_size * patience finished hypotheses; 1 by default",
        flags=("--patience",),
    )
    num_hypotheses: int = option(
        Integer(1, MAX_BEAM_SIZE),
        "hypotheses returned: at most beam_size, or as many samples or alternatives; 1 by default",
    )
    length_penalty: float = option(
        Number(-10, 10),
        "scores are divided by length ** length_penalty: more favours longer translations",
        flags=("--length-penalty",),
    )
    coverage_penalty: float = option(
        Number(0, 100),
        "how much a translation loses that leaves parts of the source unattended; 0 by default",
        flags=("--coverage-penalty",),
    )
    repetition_penalty: float = option(
        Number(0, 100, above=True),
        "more than 1 makes tokens less likely that were generated already",
        flags=("--repetition-penalty",),
    )
    no_repeat_ngram_size: int = option(
        _COUNT,
        "no n-gram of so many tokens comes twice; 0 allows all",
        flags=("--no-repeat-ngram-size",),
    )
    renormalize_logits: bool = option(
        FLAG,
        "normalise again what penalties and forbidden tokens leave of the probabilities",
        flags=("--renormalize-logits",),
    )
    num_beam_groups: int = option(
        Integer(1, MAX_BEAM_SIZE),
        "groups that share beam_size evenly and are searched one after another",
        flags=("--num-beam-groups",),
    )
    diversity_penalty: float = option(
        Number(0, 1000),
        "what a token loses for each time that an earlier group chose it in the same step",
        flags=("--diversity-penalty",),
    )
    early_stopping: bool | Literal["never"] = option(
        Choice((False, True, "never")),
        "when beam search ends, as in Hugging Face generate: true at the first beam_size finished "
        "hypotheses, false when a better one is unlikely, never when none is possible",
        flags=("--early-stopping",),
    )
    beam_rule: Literal["generate", "marian", "ctranslate2"] = option(
        Choice(("generate", "marian", "ctranslate2")),
        "whose beam search: generate is Hugging Face's, where beam_size hypotheses go on however "
        "many end; in marian's each one that ends leaves with its beam; ctranslate2's brings its "
        "scores with it",
        flags=("--beam-rule",),
    )
    max_decoding_length: int = option(
        Integer(1, _MOST),
        "longest translation, in tokens",
        flags=("--max-decoding-length",),
    )
    min_decoding_length: int = option(
        _COUNT, "shortest translation, in tokens", flags=("--min-decoding-length",)
    )
    max_length_factor: float = option(
        Number(0, 1000),
        "longest translation, in source tokens (end token included), as in Marian; 0, the default, "
        "sets no such limit",
        flags=("--max-length-factor",),
    )
    max_input_length: int = option(
        _COUNT,
        "cut longer inputs to so many tokens; 0, the default, cuts nothing: an input longer than "
        "the model's positions is then an error",
        flags=("--max-input-length",),
    )
    stop_loops: bool = option(
        FLAG,
        "end a translation that says the same again and again",
        flags=("--stop-loops",),
    )
    disable_unk: bool = option(FLAG, "never generate <unk>", flags=("--disable-unk",))
    suppress_sequences: tuple[Phrase, ...] = option(
        Phrases(), "phrases that never come", flags=("--suppress",)
    )
    bad_words_ids: tuple[Phrase, ...] = option(
        Phrases(), "more of them: lists of ids, Hugging Face's name"
    )
    force_phrases: tuple[Phrase, ...] = option(
        Phrases(), "phrases that must come, in any order", flags=("--force",)
    )
    allowed_tokens: tuple[str | int, ...] = option(
        Tokens(), "the only tokens that may come, besides the end token"
    )
    use_vmap: bool = option(
        FLAG,
        "let only the tokens come that the translator's shortlist names for the source; by default "
        "where it has one",
        flags=("--use-vmap",),
    )
    end_token: tuple[str | int, ...] = option(
        Tokens(),
        "token or tokens that end a translation, instead of the model's",
        flags=("--end-token",),
    )
    return_end_token: bool = option(FLAG, "leave the end token in the hypotheses")
    decoder_start_token_id: int = option(
        _COUNT, "the token that the decoder reads before the first one"
    )
    forced_bos_token_id: int = option(_COUNT, "the first token of every translation")
    forced_eos_token_id: int = option(
        _COUNT, "the end token that follows where a translation reaches its longest length"
    )
    prefix_bias_beta: float = option(
        Number(0, 0.999),
        "with a target prefix: follow it only as far as this; 0 forces it",
        flags=("--prefix-bias-beta",),
    )
    return_scores: bool = option(FLAG, "return scores with the hypotheses")
    return_attention: bool = option(FLAG, "return cross-attention with the hypotheses")
    attention_layer: int = option(
        Integer(-1000, 1000), "whose cross-attention is returned; -1, the default, is the last"
    )
    attention_heads: tuple[int, ...] = option(
        Integers(0, 1000), "the heads whose mean is returned; by default all"
    )
    return_logits_vocab: bool = option(
        FLAG, "return the log-probabilities of the whole vocabulary at each step"
    )
    return_alternatives: bool = option(
        FLAG,
        "num_hypotheses translations that differ in the first token behind the prefix",
        flags=("--return-alternatives",),
    )
    min_alternative_expansion_prob: float = option(
        Number(0, 1),
        "least probability of such a first token",
        flags=("--min-alternative-expansion-prob",),
    )
    sampling_topk: int = option(
        _COUNT,
        "draw from the best so many tokens; 0 from all; 1, the default, takes the best",
        flags=("--sampling-topk",),
    )
    sampling_topp: float = option(
        Number(0, 1, above=True),
        "draw from the fewest tokens whose probabilities reach this",
        flags=("--sampling-topp",),
    )
    sampling_temperature: float = option(
        Number(0, 1000, above=True),
        "more than 1 draws more evenly, less more greedily",
        flags=("--sampling-temperature",),
    )
    seed: int = option(
        Integer(0, 2**64 - 1),
        "of sampling: the same seed gives the same translation of the same source",
        flags=("--seed",),
    )
    replace_unknowns: bool = option(
        FLAG,
        "put the source token that is attended to most in place of <unk>",
        flags=("--replace-unknowns",),
    )
    max_batch_size: int = option(
        _COUNT,
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

# What Hugging Face calls them, for hints.
OTHER_NAMES = {
    "num_beams": "beam_size",
    "num_return_sequences": "num_hypotheses",
    "max_length": "max_decoding_length",
    "max_new_tokens": "max_decoding_length",
    "min_length": "min_decoding_length",
    "min_new_tokens": "min_decoding_length",
    "eos_token_id": "end_token",
    "do_sample": "sampling_topk",
    "top_k": "sampling_topk",
    "top_p": "sampling_topp",
    "temperature": "sampling_temperature",
    "force_words_ids": "force_phrases",
    "suppress_tokens": "suppress_sequences",
    "output_scores": "return_scores",
    "output_attentions": "return_attention",
}
