"""The parts that a native file is planned of: tensors, and matrices whose type is yet to choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pytransformer.errors import CheckpointError
from pytransformer.panels import FORMATS, PANEL, Tensor, pad
from pytransformer.quantization import FloatArray, NotFiniteError

# Weights that are packed at once: few enough to stay in the processor's cache over all passes.
_BLOCK_SIZE = 1 << 17


@dataclass(frozen=True)
class Entry:
    """Tensors that are filled together. `fill` takes zeroed memory of the shape of each."""

    tensors: tuple[Tensor, ...]
    fill: Callable[..., None]


@dataclass(frozen=True)
class Matrix:
    """A matrix that is stored in panels, in whatever compute type.

    Attributes:
        name: of the tensor.
        panels: how many there are.
        inputs: padded.
        blocks: reads the matrix, in blocks [16 * some of the panels, inputs] from the top down.
    """

    name: str
    panels: int
    inputs: int
    blocks: Callable[[], Iterator[FloatArray]]

    def stored_as(self, compute_type: str) -> Entry:
        """The tensors in this compute type.

        Their `fill` raises CheckpointError that names the matrix if it holds a NaN or an infinity
        and the type has none.
        """
        layout = FORMATS[compute_type]

        def fill(*targets: np.ndarray) -> None:
            flat = [target.reshape(self.panels, -1) for target in targets]
            first = 0
            for rows in self.blocks():
                stop = first + len(rows) // PANEL
                try:
                    parts = layout.pack(rows)
                except NotFiniteError as error:
                    raise CheckpointError(
                        f"tensor {self.name!r} holds {error}, which {compute_type} has not"
                    ) from None
                for target, part in zip(flat, parts, strict=True):
                    target[first:stop] = part.reshape(stop - first, -1)
                first = stop
            if first != self.panels:
                raise CheckpointError(
                    f"tensor {self.name!r} fills {first} panels, expected {self.panels}"
                )

        return Entry(layout.tensors(self.name, self.panels, self.inputs), fill)


def panels_per_block(inputs: int) -> int:
    """How many panels of so many inputs make a block."""
    return max(1, _BLOCK_SIZE // (PANEL * inputs))


def row_blocks(weight: FloatArray) -> Iterator[FloatArray]:
    """Cuts a matrix [outputs, inputs] into padded blocks of rows, for `Matrix.blocks`."""
    outputs, inputs = weight.shape
    step = PANEL * panels_per_block(pad(inputs))
    for first in range(0, outputs, step):
        rows = np.ascontiguousarray(weight[first : first + step], np.float32)
        missing = pad(len(rows)) - len(rows), pad(inputs) - inputs
        yield np.pad(rows, [(0, count) for count in missing]) if any(missing) else rows
