"""Embeddings and outputs that Hugging Face ties to one another, stored once or several times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pytransformer.loaders.tensor_source import TensorSource


@dataclass(frozen=True)
class Tying:
    """Which matrices are one: those of both sides (`shared`), the output and the decoder's."""

    shared: bool
    tied_output: bool


@dataclass(frozen=True)
class Embeddings:
    """Names of the tensors that serve as encoder embedding, decoder embedding and output matrix.

    `shared` is the name under which a matrix for both sides is usually stored.
    """

    encoder: str
    decoder: str
    output: str
    shared: str

    def renamed(self, rename: Callable[[str], str]) -> Embeddings:
        """The same with other names."""
        return Embeddings(
            rename(self.encoder), rename(self.decoder), rename(self.output), rename(self.shared)
        )

    def resolve(self, source: TensorSource, tying: Tying) -> Embeddings:
        """The same with the names of tensors that are there, as far as there are any.

        Tensors that are tied to one another may be stored under any of their names. As in
        transformers, a tensor that is there is used, even where the configuration says that it is
        tied to one with other values.
        """
        inputs = [self.shared, self.decoder, self.encoder] if tying.shared else []
        outputs = [self.output] if tying.tied_output else []
        candidates = {
            "encoder": [self.encoder, *inputs, *(outputs if tying.shared else [])],
            "decoder": [self.decoder, *inputs, *outputs],
            "output": [self.output, *([self.decoder, *inputs] if tying.tied_output else [])],
        }
        chosen = {"shared": self.shared}
        for role, names in candidates.items():
            # If none is there, the usual name is reported as missing.
            usual = self.shared if tying.shared and len(names) > 1 else names[0]
            chosen[role] = next((name for name in names if name in source.shapes), usual)
        return Embeddings(**chosen)


def same_values(source: TensorSource, first: str, second: str) -> bool:
    """Whether two stored tensors are equal; not, if one of them is missing."""
    if first == second:
        return True
    if source.shapes.get(first) is None or source.shapes.get(first) != source.shapes.get(second):
        return False
    return bool(np.array_equal(source.read(first), source.read(second)))
