"""Positions of Hugging Face's encoder-decoder models: learned, or sinusoids that may be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.tensor_plan import Shape
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import PositionKind, PositionSpec

# Stored sinusoids may carry the rounding of a formula evaluated in float32, or of their type.
_TOLERANCE = 1e-4
_ROUNDING = {"F16": 1e-3, "BF16": 5e-3}
_MAX_POSITIONS = 2**16  # and as far may the first one be: the engine's limits


@dataclass(frozen=True)
class Positions:
    """The positions of a family.

    `offset` is the table's row of the first token; None is the one behind the padding token's, from
    which fairseq counts. `name` ends the name of the stored table. `is_read` says whether
    transformers uses the numbers of a stored table, however they were rounded.
    """

    kind: PositionKind
    offset: int | None
    name: str = "embed_positions.weight"
    is_read: bool = True

    def describe(
        self, config: Settings, source: TensorSource, stored: str, d_model: int
    ) -> PositionSpec:
        """The positions of a stack, whose table may be stored under the name `stored`.

        A stored table that is not what the family would compute is used as it is.
        """
        max_length = config.integer("max_position_embeddings", 1024, 2, _MAX_POSITIONS)
        offset = self.offset
        if offset is None:
            offset = config.integer("pad_token_id", 1, maximum=_MAX_POSITIONS - 1) + 1
        spec = PositionSpec(self.kind, max_length, offset)
        if self.kind == "learned" or not self._differs(source, stored, spec, d_model):
            return spec
        return PositionSpec("learned", max_length, offset)

    def _differs(self, source: TensorSource, stored: str, spec: PositionSpec, d_model: int) -> bool:
        """Whether a table is stored that is not the sinusoids, in the rows that tokens can have."""
        if stored not in source.shapes:
            return False
        shape = table_shape(spec, d_model)
        if source.shapes[stored] != shape:
            return True  # the shape is reported together with all others
        with np.errstate(invalid="ignore"):  # NaN is reported together with that of others
            difference = np.abs(source.read(stored) - _sinusoids(spec.kind, *shape))[spec.offset :]
        rounding = 0.0 if self.is_read else _ROUNDING.get(source.dtype(stored), 0.0)
        return not difference.max() <= max(_TOLERANCE, rounding)


def table_shape(spec: PositionSpec, d_model: int) -> Shape:
    """The shape of a stored table."""
    return spec.offset + spec.max_length, d_model


def _sinusoids(kind: PositionKind, rows: int, d_model: int) -> FloatArray:
    """Sinusoids [rows, d_model], all sines before all cosines; for `kind` see PositionSpec."""
    pairs = d_model // 2
    if kind == "sinusoidal_tensor2tensor":
        exponents = np.arange(pairs) / max(pairs - 1, 1)
    else:
        exponents = np.arange(0, d_model, 2) / d_model
    angles = np.arange(rows)[:, None] * np.power(10000.0, -exponents)
    table = np.concatenate([np.sin(angles), np.cos(angles[:, :pairs])], axis=1)
    # Where d_model is odd, Tensor2Tensor leaves the last column zero.
    filled = np.pad(table, ((0, 0), (0, d_model - table.shape[1])))
    return cast(FloatArray, filled.astype(np.float32))
