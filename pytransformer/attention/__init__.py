"""What a model's attention looks at: as arrays, as word alignments, in pictures and in a page."""

from __future__ import annotations

from pytransformer.attention.alignment import Alignment
from pytransformer.attention.maps import AttentionMaps, Kind
from pytransformer.attention.page import write_page
from pytransformer.attention.plot import plot_attention, plot_positions
from pytransformer.attention.positions import sinusoidal_positions

__all__ = [
    "Alignment",
    "AttentionMaps",
    "Kind",
    "plot_attention",
    "plot_positions",
    "sinusoidal_positions",
    "write_page",
]
