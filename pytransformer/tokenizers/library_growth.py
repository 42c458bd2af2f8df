"""How much longer the steps of a tokenizer.json may make a text.

The library applies them one after another, and ends the process when memory runs out: a few steps
that put ten characters in the place of each one are enough.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator
from typing import Any

from pytransformer.errors import UnsupportedModelError

# Each step that is there once or twice in real files takes 1 or 2; a map of characters 33.
_MOST_GROWTH = 256
_MOST_STEPS = 64
_LISTS = ("normalizers", "pretokenizers", "decoders")


def check_growth(tokenizer: Any) -> None:
    """Raises UnsupportedModelError for too many steps, or those that lengthen texts too much."""
    for step in (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder):
        if step is None:
            continue
        steps = list(_steps(json.loads(step.__getstate__())))
        growth = math.prod(map(_growth, steps))
        if len(steps) > _MOST_STEPS or growth > _MOST_GROWTH:
            raise UnsupportedModelError(
                f"tokenizer.json: {len(steps)} steps, of which a text may become {growth} times as "
                f"long, are more than the {_MOST_STEPS} and {_MOST_GROWTH} that are supported"
            )


def _steps(step: Any) -> Iterator[Any]:
    """The steps that a step is made of, in their order."""
    parts = next((step[key] for key in _LISTS if key in step), None)
    if parts is None:
        yield step
    else:
        for part in parts:
            yield from _steps(part)


def _growth(step: Any) -> int:
    """At most so many bytes are made of each one."""
    kind = step.get("type")
    if kind == "ByteLevel":
        return 2
    if kind == "Replace":
        return max(1, len(step["content"].encode()))
    if kind == "Precompiled":
        return _longest_replacement(step.get("precompiled_charsmap") or "")
    return 1


def _longest_replacement(characters: str) -> int:
    try:
        content = base64.b64decode(characters)
    except binascii.Error:
        return 1
    texts = content[4 + int.from_bytes(content[:4], "little") :]
    return max(1, *map(len, texts.split(b"\0")))
