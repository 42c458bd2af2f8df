"""What pytransformer.h declares, as ctypes has it: structs, callbacks, functions."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Mapping, Sequence
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)
from typing import Any

PREFIX = "pytransformer_"
UNSET = -(2**31)
SIZE_MAX = c_size_t(-1).value


class Status(enum.IntEnum):
    """pytransformer_status."""

    OK = 0
    ARGUMENT = 1
    FILE = 2
    CHECKPOINT = 3
    UNSUPPORTED = 4
    OPTION = 5
    INPUT_LENGTH = 6
    DECODING = 7
    MEMORY = 8
    CANCELLED = 9
    INTERNAL = 10


# What Python calls the values of options that are enumerations.
NAMES: dict[str, dict[object, int]] = {
    "early_stopping": {False: 0, True: 1, "never": 2},
    "beam_rule": {"generate": 0, "marian": 1, "ctranslate2": 2},
    "batch_type": {"examples": 0, "tokens": 1},
}

TOKEN_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_size_t, c_int32, c_int32, c_float)
TEXT_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_size_t, c_void_p, c_size_t)


class Error(Structure):
    _fields_ = (("size", c_size_t), ("status", c_int32), ("message", c_char * 1012))


class Settings(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("inter_threads", c_int32),
        ("intra_threads", c_int32),
        ("isa", c_char_p),
        ("max_memory", c_uint64),
    )


class Info(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("family", c_char_p),
        ("compute_type", c_char_p),
        ("isa", c_char_p),
        ("num_parameters", c_int64),
        ("source_vocab_size", c_int64),
        ("target_vocab_size", c_int64),
        ("max_source_length", c_int64),
        ("max_decoding_length", c_int64),
        ("inter_threads", c_int32),
        ("intra_threads", c_int32),
        ("translates_text", c_int32),
    )


class Text(Structure):
    _fields_ = (("data", c_char_p), ("length", c_size_t))

    @classmethod
    def of(cls, text: str | bytes) -> Text:
        data = text.encode() if isinstance(text, str) else text
        return cls(data, len(data))

    def read(self) -> str | None:
        """All of it, NULs included; None for NULL."""
        address = c_void_p.from_buffer(self).value
        return None if address is None else ctypes.string_at(address, self.length).decode()


class Ids(Structure):
    _fields_ = (("data", POINTER(c_int32)), ("count", c_size_t))

    @classmethod
    def of(cls, ids: Sequence[int]) -> Ids:
        return cls((c_int32 * len(ids))(*ids), len(ids))


class Tokens(Structure):
    _fields_ = (("data", POINTER(Text)), ("count", c_size_t))

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Tokens:
        return cls((Text * len(tokens))(*map(Text.of, tokens)), len(tokens))


class Options(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("beam_size", c_int32),
        ("num_hypotheses", c_int32),
        ("patience", c_float),
        ("length_penalty", c_float),
        ("coverage_penalty", c_float),
        ("repetition_penalty", c_float),
        ("no_repeat_ngram_size", c_int32),
        ("renormalize_logits", c_int32),
        ("num_beam_groups", c_int32),
        ("diversity_penalty", c_float),
        ("early_stopping", c_int32),
        ("beam_rule", c_int32),
        ("max_decoding_length", c_int32),
        ("min_decoding_length", c_int32),
        ("max_length_factor", c_float),
        ("max_input_length", c_int32),
        ("stop_loops", c_int32),
        ("disable_unk", c_int32),
        ("prefix_bias_beta", c_float),
        ("return_alternatives", c_int32),
        ("min_alternative_expansion_prob", c_float),
        ("sampling_topk", c_int32),
        ("sampling_topp", c_float),
        ("sampling_temperature", c_float),
        ("seed", POINTER(c_uint64)),
        ("return_scores", c_int32),
        ("return_end_token", c_int32),
        ("return_attention", c_int32),
        ("attention_layer", c_int32),
        ("attention_heads", Ids),
        ("decoder_start_token_id", c_int32),
        ("forced_bos_token_id", c_int32),
        ("forced_eos_token_id", c_int32),
        ("end_tokens", Ids),
        ("allowed_tokens", Ids),
        ("suppress_sequences", POINTER(Ids)),
        ("num_suppress_sequences", c_size_t),
        ("force_phrases", POINTER(Ids)),
        ("num_force_phrases", c_size_t),
        ("max_batch_size", c_int32),
        ("batch_type", c_int32),
        ("src_lang", c_char_p),
        ("tgt_lang", c_char_p),
        ("target_prefix", Text),
        ("on_token", TOKEN_CALLBACK),
        ("on_text", TEXT_CALLBACK),
        ("context", c_void_p),
    )

    def change(self, values: Mapping[str, Any]) -> None:
        """Sets options by name; ids are any sequences, texts are strings, callbacks functions."""
        types = {field[0]: field[1] for field in self._fields_}
        for name, value in values.items():
            if types[name] is POINTER(Ids):
                setattr(self, f"num_{name}", len(value))
            setattr(self, name, _option(name, types[name], value))


class Hypothesis(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("text", Text),
        ("tokens", Tokens),
        ("ids", Ids),
        ("score", c_float),
        ("log_probs", POINTER(c_float)),
        ("num_log_probs", c_size_t),
        ("attention", POINTER(c_float)),
        ("source_length", c_size_t),
        ("finish_reason", c_int32),
    )


def _option(name: str, kind: Any, value: Any) -> Any:
    """An option's value as ctypes has it."""
    if kind is POINTER(Ids):
        return (Ids * len(value))(*map(Ids.of, value))
    if kind is POINTER(c_uint64):
        return ctypes.pointer(c_uint64(value))
    if kind in (Ids, Text):
        return kind.of(value)
    if kind is c_char_p:
        return value.encode()
    if kind in (TOKEN_CALLBACK, TEXT_CALLBACK):
        return kind(value)
    return NAMES.get(name, {}).get(value, value)


STRUCTS: dict[str, type[Structure]] = {
    f"{PREFIX}{kind.__name__.lower()}": kind
    for kind in (Error, Settings, Info, Text, Ids, Tokens, Options, Hypothesis)
}

_CALL = (c_void_p, POINTER(Options), POINTER(c_void_p), POINTER(Error))
# Result and arguments of each function.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "version": (c_char_p, ()),
    "open": (c_int, (c_char_p, POINTER(Settings), POINTER(c_void_p), POINTER(Error))),
    "open_memory": (
        c_int,
        (c_void_p, c_size_t, POINTER(Settings), POINTER(c_void_p), POINTER(Error)),
    ),
    "close": (None, (c_void_p,)),
    "get_info": (c_int, (c_void_p, POINTER(Info), POINTER(Error))),
    "source_language": (c_char_p, (c_void_p, c_size_t)),
    "target_language": (c_char_p, (c_void_p, c_size_t)),
    "options_init": (None, (POINTER(Options), c_size_t)),
    "translate_texts": (c_int, (_CALL[0], POINTER(Text), c_size_t, *_CALL[1:])),
    "translate_tokens": (
        c_int,
        (_CALL[0], POINTER(Tokens), POINTER(Tokens), c_size_t, *_CALL[1:]),
    ),
    "translate_ids": (c_int, (_CALL[0], POINTER(Ids), POINTER(Ids), c_size_t, *_CALL[1:])),
    "hypothesis_init": (None, (POINTER(Hypothesis), c_size_t)),
    "result_count": (c_size_t, (c_void_p,)),
    "result_hypotheses": (c_size_t, (c_void_p, c_size_t)),
    "result_get": (
        c_int,
        (c_void_p, c_size_t, c_size_t, POINTER(Hypothesis), POINTER(Error)),
    ),
    "result_text": (c_char_p, (c_void_p, c_size_t)),
    "result_free": (None, (c_void_p,)),
    "encode": (
        c_int,
        (
            c_void_p, Text, c_char_p, c_char_p, POINTER(c_int32), c_size_t, POINTER(c_size_t),
            POINTER(Error),
        ),
    ),
    "decode": (
        c_int,
        (c_void_p, Ids, c_void_p, c_size_t, POINTER(c_size_t), POINTER(Error)),
    ),
}  # fmt: skip
