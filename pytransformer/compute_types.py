"""The number formats that weights may be stored and computed in, and what a caller may ask for."""

from __future__ import annotations

from pytransformer.errors import OptionError
from pytransformer.option_rules import Choice

# CTranslate2's names that also say what is computed in beside int8, which is always float32 here.
_ALIASES = {"int8_float32": "int8", "int8_float16": "int8", "int8_bfloat16": "int8"}

COMPUTE_TYPE = Choice(("default", "auto", "float32", "bfloat16", "int8", "int4"), _ALIASES)


def check_compute_type(wanted: object) -> str:
    """The name that a caller's word stands for; OptionError if it is none, with those that are."""
    try:
        return str(COMPUTE_TYPE.convert(wanted))
    except ValueError:
        raise OptionError(f"compute_type is {wanted!r}, expected {COMPUTE_TYPE.expected}") from None


def resolve(wanted: str, stored: str) -> str | None:
    """The type to convert weights to that are stored as `stored`; None to leave them all.

    "default" is as stored. "auto" is the fastest type that costs at most 0.3 BLEU: int8, but what
    is stored as int4 stays so, since what it lost does not come back. Raises OptionError if
    `wanted` is no compute type.
    """
    name = check_compute_type(wanted)
    if name == "default" or (name == "auto" and stored == "int4"):
        return None
    return "int8" if name == "auto" else name
