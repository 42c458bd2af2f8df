"""Attention as an HTML page in which one picks layers and heads and follows words."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from pytransformer.attention.maps import KINDS, AttentionMaps, View

_TEMPLATE = Path(__file__).with_name("page.html")
_PLACEHOLDER = "@DATA@"
# What could end the script element, or a line in it; JSON may write any character so.
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def write_page(
    maps: AttentionMaps, path: str | os.PathLike[str], *, title: str = "Attention"
) -> None:
    """Writes a page that shows all heads of all layers; it needs no network and no other file.

    Args:
        maps: what to show. Tokens may hold any text; the page never reads them as HTML.
        path: of the page.
        title: of the page.

    Raises:
        OSError: the page cannot be written.
    """
    values = {"title": title, "kinds": {kind: _packed(maps.view(kind)) for kind in KINDS}}
    # ASCII alone, so neither a lone surrogate nor U+2028 can do harm.
    text = json.dumps(values, ensure_ascii=True).translate(_UNSAFE)
    template = _TEMPLATE.read_text(encoding="utf-8")
    Path(path).write_text(template.replace(_PLACEHOLDER, text), encoding="utf-8")


def _packed(view: View) -> dict[str, Any]:
    """Weights as 16 bits each, 65535 for 1, little-endian, in base64."""
    layers, heads = view.weights.shape[:2]
    words = np.rint(np.clip(view.weights, 0, 1) * 65535).astype("<u2")
    return {
        "layers": layers,
        "heads": heads,
        "rows": view.rows,
        "columns": view.columns,
        "weights": base64.b64encode(words.tobytes()).decode("ascii"),
    }
