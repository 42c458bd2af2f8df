"""The arguments of transformers' pipelines and of `generate`, and what they are called here.

Each is checked under the name that the caller gave, then turned into options of the translator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytransformer.decoding import DecodingLimits
from pytransformer.errors import OptionError
from pytransformer.option_rules import FLAG, Choice, Integer, OptionInfo, Rule, check
from pytransformer.options import OPTIONS


@dataclass(frozen=True)
class _Text:
    """A string."""

    expected: str = "a string"
    metavar: str = "TEXT"
    several: bool = False

    def convert(self, value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        return value

    def parse(self, text: str) -> str:
        return text


# transformers' own, where a caller samples and says no more.
_DEFAULT_TOP_K = 50

# Two ways to give one length: the first counts the start token, the second does not and wins.
_SAME_LENGTHS = (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens"))

# What the translator's options are called in transformers.
_RENAMED = {
    "num_beams": "beam_size",
    "num_return_sequences": "num_hypotheses",
    "eos_token_id": "end_token",
    "batch_size": "max_batch_size",
}
_SAMPLING = {
    "top_k": "sampling_topk",
    "top_p": "sampling_topp",
    "temperature": "sampling_temperature",
}
_SAME_NAMES = (
    "length_penalty",
    "early_stopping",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "diversity_penalty",
    "bad_words_ids",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_input_length",
    "seed",
)
# How PyTorch loads and computes, and where a download comes from: nothing of it changes what is
# translated here. return_text had no effect in transformers either.
_WITHOUT_MEANING = frozenset(
    {
        "framework",
        "use_fast",
        "dtype",
        "torch_dtype",
        "revision",
        "token",
        "use_auth_token",
        "trust_remote_code",
        "model_kwargs",
        "num_workers",
        "return_text",
        "use_cache",
        "pad_token_id",
    }
)
_LENGTH = Integer(0, 2**31 - 1)
_RULES: dict[str, Rule] = {
    **{name: OPTIONS[ours].rule for name, ours in (_RENAMED | _SAMPLING).items()},
    **{name: OPTIONS[name].rule for name in _SAME_NAMES},
    **{name: _LENGTH for names in _SAME_LENGTHS for name in names},
    "do_sample": FLAG,
    "truncation": Choice((True, False, "longest_first", "only_first", "do_not_truncate")),
    "src_lang": _Text(),
    "tgt_lang": _Text(),
    "clean_up_tokenization_spaces": FLAG,
    "return_tensors": FLAG,
}
_INFOS = {name: OptionInfo(rule, "", ()) for name, rule in _RULES.items()}


def checked(arguments: Mapping[str, object]) -> dict[str, Any]:
    """The arguments that are given, which None is not, in their plain types.

    Raises:
        OptionError: one for all that is wrong: unknown names and values that are unfit.
    """
    given = {
        name: value
        for name, value in arguments.items()
        if name not in _WITHOUT_MEANING and (value is not None or name not in _INFOS)
    }
    values, problems = check(_INFOS, given)
    if problems:
        raise OptionError("; ".join(problems))
    return values


def merged(defaults: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline's arguments with those of a call in their place."""
    # A length replaces the pipeline's, whichever of the two ways each is given in.
    replaced = {
        name for names in _SAME_LENGTHS for name in names if not call.keys().isdisjoint(names)
    }
    kept = {name: value for name, value in defaults.items() if name not in replaced}
    return {**kept, **call}


def translator_options(values: Mapping[str, Any], limits: DecodingLimits) -> dict[str, Any]:
    """Checked arguments as options of the translator."""
    options = {ours: values[name] for name, ours in _RENAMED.items() if name in values}
    options.update((name, values[name]) for name in _SAME_NAMES if name in values)
    options.update(_lengths(values, limits))
    if values.get("do_sample"):
        options.update(_sampling(values))
    if values.get("truncation", False) not in (False, "do_not_truncate"):
        # The limit counts the end token, the option does not; a model without a limit needs no cut.
        options.setdefault("max_input_length", max(0, (limits.max_source_length or 1) - 1))
    return options


def in_callers_names(message: str) -> str:
    """A message about the translator's options, with transformers' names where the value is one."""
    theirs = {ours: name for name, ours in (_RENAMED | _SAMPLING).items()}
    return re.sub(r"\w+", lambda word: theirs.get(word[0], word[0]), message)


def _lengths(values: Mapping[str, Any], limits: DecodingLimits) -> dict[str, int]:
    """Lengths without start and end token, of which transformers counts one or both."""
    lengths = {}
    if "max_new_tokens" in values or "max_length" in values:
        longest = (
            values["max_new_tokens"] if "max_new_tokens" in values else values["max_length"] - 1
        )
        # The last token of a full length is the end token if that is forced.
        forced = values.get("forced_eos_token_id", limits.generation.forced_end_token_id)
        if forced is not None and forced in values.get("eos_token_id", (forced,)):
            longest -= 1
        # Checkpoints and callers often name more than the positions, which is harmless there.
        reach = limits.max_decoding_length
        lengths["max_decoding_length"] = longest if reach is None else min(longest, reach)
    if "min_new_tokens" in values:
        lengths["min_decoding_length"] = values["min_new_tokens"]
    elif "min_length" in values:
        lengths["min_decoding_length"] = max(0, values["min_length"] - 1)
    return lengths


def _sampling(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling's options; without a number of beams it is plain sampling, not the model's beams."""
    defaults = {"sampling_topk": _DEFAULT_TOP_K, "beam_size": values.get("num_beams", 1)}
    return {**defaults, **{_SAMPLING[name]: values[name] for name in _SAMPLING if name in values}}
