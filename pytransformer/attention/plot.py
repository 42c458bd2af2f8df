"""Attention and positional encodings as pictures."""

from __future__ import annotations

import importlib.util
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.attention.maps import AttentionMaps, Kind, View, pick
from pytransformer.errors import OptionError

FORMATS = ("png", "svg", "pdf")
_DOTS_PER_INCH = 110
# Title, name of the rows, name of the columns.
_NAMES: dict[Kind, tuple[str, str, str]] = {
    "cross": ("Cross-attention", "token produced", "source token looked at"),
    "encoder": ("Self-attention of the encoder", "source token", "source token looked at"),
    "decoder": ("Self-attention of the decoder", "decoder input", "decoder input looked at"),
}
# Inches. A cell as high as a line of text keeps every label; longer sentences drop some of them.
_CELL = (0.15, 0.3)
_PANEL = (1.8, 6.0)
_LINE = 0.14
_CHARACTER = 0.07
_GAP = 0.1
_BAR = 0.15
_LABEL_CHARACTERS = 16
_LABEL_POINTS = 8
_HEADS_IN_ROW = 4  # at most, where there is only one layer
_COLOUR_MAP = "Blues"
_WAVE_COLOURS = ("#0072b2", "#d55e00", "#009e73")
# For scripts that matplotlib's own font lacks, if the machine has one of these.
_FALLBACK_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Arabic", "Noto Sans Devanagari",
    "Noto Sans Thai", "Noto Sans", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Unifont",
)  # fmt: skip


def check_picture(path: str | os.PathLike[str]) -> str:
    """The format of a picture by its name.

    Raises:
        OptionError: it is none of `FORMATS`, or matplotlib is missing.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise OptionError(f"{os.fspath(path)}: not a picture's name, expected .png, .svg or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError('pictures need matplotlib: pip install "pytransformer[plot]"')
    return suffix


def plot_attention(
    maps: AttentionMaps,
    path: str | os.PathLike[str],
    *,
    kind: Kind = "cross",
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> None:
    """Draws heads as heat maps, a row of them for each layer; a single layer may take several.

    Args:
        maps: what to draw.
        path: of the picture; its suffix is .png, .svg or .pdf.
        kind: "cross", "encoder" or "decoder".
        layers: counted from 0, or from -1, the last, down; None means all.
        heads: counted in the same way; None means all.

    Raises:
        OptionError: no such layer, head, kind or format, or matplotlib is missing.
        OSError: the picture cannot be written.
    """
    suffix = check_picture(path)
    view = maps.view(kind)
    num_layers, num_heads = view.weights.shape[:2]
    chosen_layers = pick(num_layers, layers, "layer")
    chosen_heads = pick(num_heads, heads, "head")
    pairs = [(layer, head) for layer in chosen_layers for head in chosen_heads]
    in_row = len(chosen_heads)
    if len(chosen_layers) == 1:
        in_row = math.ceil(in_row / math.ceil(in_row / _HEADS_IN_ROW))
    with _fonts():
        _save(_draw_heads(view, _NAMES[kind], pairs, in_row), path, suffix)


def plot_positions(table: npt.NDArray[np.float32], path: str | os.PathLike[str]) -> None:
    """Draws a positional encoding: the whole table, and some dimensions along the positions.

    Args:
        table: [length, d_model], as `sinusoidal_positions` gives it; a learned one will do too.
        path: of the picture; its suffix is .png, .svg or .pdf.

    Raises:
        OptionError: not such a table or format, or matplotlib is missing.
        OSError: the picture cannot be written.
    """
    suffix = check_picture(path)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise OptionError(
            f"the table has the shape {list(table.shape)}, expected [length, d_model]"
        )
    from matplotlib.figure import Figure

    length, d_model = table.shape
    figure = Figure(figsize=(12, 8), layout="constrained")
    whole, waves = figure.subplots(2, 1, height_ratios=(3, 2))
    limit = float(np.abs(table).max()) or 1.0
    image = whole.imshow(
        table, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    figure.colorbar(image, ax=whole, pad=0.02)
    whole.set(xlabel="dimension", ylabel="position", title=f"{length} positions, d_model {d_model}")
    _draw_waves(waves, table)
    _save(figure, path, suffix)


def _draw_waves(axes: Any, table: npt.NDArray[np.float32]) -> None:
    """Pairs of neighbouring dimensions, each slower than the one before."""
    length, d_model = table.shape
    evens = sorted({d_model // part // 2 * 2 for part in (8, 4, 2)} & set(range(d_model - 1)))
    for even, colour in zip(evens, _WAVE_COLOURS, strict=False):
        for dimension, style in ((even, "-"), (even + 1, "--")):
            label = f"dimension {dimension}"
            axes.plot(table[:, dimension], style, color=colour, linewidth=1.5, label=label)
    axes.set(
        xlabel="position", title="Some dimensions along the positions", xlim=(0, max(length - 1, 1))
    )
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2 * len(evens), fontsize=9)


def _draw_heads(
    view: View, names: tuple[str, str, str], pairs: Sequence[tuple[int, int]], in_row: int
) -> Any:
    """A grid of heat maps, one for each pair of a layer and a head."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    lines = -(-len(pairs) // in_row)
    width, height = _panel(len(view.columns)), _panel(len(view.rows))
    title_points = min(max(2.5 * width, _LABEL_POINTS + 1), 14)
    title_height = 2 * title_points / 72
    # With sizes of its own the grid needs no search for a layout, which takes seconds.
    figure = Figure(figsize=(in_row * (width + _GAP), lines * (height + title_height)))
    grid = figure.subplots(lines, in_row, squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1, wspace=_GAP / width, hspace=title_height / height)
    # The root shows small weights too, which are most of a long sentence's.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    for axes in grid.flat[len(pairs) :]:
        axes.set_axis_off()
    for place, (layer, head) in enumerate(pairs):
        axes = grid.flat[place]
        axes.imshow(
            view.weights[layer, head],
            aspect="auto",
            cmap=_COLOUR_MAP,
            norm=norm,
            interpolation="nearest",
        )
        axes.set_title(f"layer {layer}, head {head}", fontsize=title_points)
        lowest = place + in_row >= len(pairs)
        _label(axes.xaxis, view.columns, width, shown=lowest, rotation=90)
        _label(axes.yaxis, view.rows, height, shown=place % in_row == 0)
    _add_names(figure, view, names, title_height)
    _add_bar(figure, grid.flat[0].images[0])
    return figure


def _add_names(figure: Any, view: View, names: tuple[str, str, str], title_height: float) -> None:
    """The title above, and the names of rows and columns beyond the tokens."""
    width, height = figure.get_size_inches()
    points = min(max(width, 10), 24)
    title, rows, columns = names
    left, below = (_CHARACTER * _longest(tokens) + _GAP for tokens in (view.rows, view.columns))
    above = 1 + (title_height + _GAP) / height
    figure.text(0, above, title, fontsize=1.2 * points, ha="left", va="bottom")
    figure.text(0, -(below + _GAP) / height, columns, fontsize=points, ha="left", va="top")
    figure.text(-(left + _GAP) / width, 1, rows, fontsize=points, ha="right", va="top", rotation=90)


def _add_bar(figure: Any, image: Any) -> None:
    """The scale of colours, to the right of the first line of heat maps."""
    width = figure.get_figwidth()
    place = image.axes.get_position()
    axes = figure.add_axes((1 + _GAP / width, place.y0, _BAR / width, place.height))
    bar = figure.colorbar(image, cax=axes)
    bar.set_ticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    axes.tick_params(labelsize=_LABEL_POINTS)


def _panel(count: int) -> float:
    """The side, in inches, of a heat map with so many rows or columns."""
    cell = min(max(_PANEL[0] / count, _CELL[0]), _CELL[1])
    return min(count * cell, _PANEL[1])


def _label(axis: Any, tokens: Sequence[str], inches: float, *, shown: bool, **text: Any) -> None:
    """Names rows or columns by their tokens, as many as there is room for."""
    every = max(math.ceil(len(tokens) * _LINE / inches), 1)
    places = range(0, len(tokens), every) if shown else ()
    labels = [_printable(tokens[place]) for place in places]
    # A token is text: a dollar sign in it starts no formula.
    axis.set_ticks(places, labels, fontsize=_LABEL_POINTS, parse_math=False, **text)
    axis.set_tick_params(length=2)


def _longest(tokens: Sequence[str]) -> int:
    return max(len(_printable(token)) for token in tokens)


def _printable(token: str) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in token)
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"


def _fonts() -> Any:
    """A context in which text falls back to other fonts of this machine."""
    from matplotlib import font_manager, rc_context, rcParams

    installed = set(font_manager.get_font_names())
    found = [name for name in _FALLBACK_FONTS if name in installed]
    return rc_context({"font.family": [*rcParams["font.family"], *found]})


def _save(figure: Any, path: str | os.PathLike[str], suffix: str) -> None:
    content = io.BytesIO()
    figure.savefig(content, format=suffix, dpi=_DOTS_PER_INCH, bbox_inches="tight")
    Path(path).write_bytes(content.getvalue())
