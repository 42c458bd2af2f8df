"""CTranslate2's names of activations and of ways to merge embeddings.

Specifications of models, by which CTranslate2's converters describe weights, are not needed here:
checkpoints are read as they are.
"""

from __future__ import annotations

import enum

__all__ = ["Activation", "EmbeddingsMerge"]


class Activation(enum.IntEnum):
    """Activation functions."""

    RELU = 0
    GELUTanh = 1
    SWISH = 2
    GELU = 3
    GELUSigmoid = 4
    Tanh = 5
    Sigmoid = 6


class EmbeddingsMerge(enum.IntEnum):
    """How the embeddings of several source features become one."""

    CONCAT = 0
    ADD = 1


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}: checkpoints are read without "
        "specifications, see pytransformer.ctranslate2.converters"
    )
