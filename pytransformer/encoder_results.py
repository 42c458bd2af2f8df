"""What encoders give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytransformer import _native
from pytransformer.model_spec import HeadSpec, ModelSpec

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class EncoderOutput:
    """What a model makes of several inputs. Names are those of Hugging Face and CTranslate2.

    Attributes:
        last_hidden_state: of each input, the states [tokens, d_model] of its tokens or patches,
            special ones included.
        pooler_output: what the pooler makes of each one's first state [inputs, pooler_size]; None
            if the model has no pooler.
        logits: of the classes [inputs, labels]; None if the model has none.
    """

    last_hidden_state: list[npt.NDArray[np.float32]]
    pooler_output: npt.NDArray[np.float32] | None
    logits: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, found: Sequence[_native.Hypothesis], model: ModelSpec) -> EncoderOutput:
        """The results of one job. States are not copied."""
        head = model.head or HeadSpec(0, "tanh", (), "softmax")
        pooled = [one.pooled for one in found if one.pooled is not None]
        logits = [one.label_logits for one in found if one.label_logits is not None]
        return cls(
            [one.states for one in found if one.states is not None],
            _rows(pooled, head.pooler_size) if head.pooler_size else None,
            _rows(logits, len(head.labels)) if head.labels else None,
        )


class Label(NamedTuple):
    """The name of a class, and its probability."""

    name: str
    probability: float


def labels_of(logits: npt.NDArray[np.float32] | None, head: HeadSpec) -> list[list[Label]]:
    """The classes of each input, best first."""
    assert logits is not None
    values = logits.astype(np.float64)
    if head.chances == "softmax":
        values = np.exp(values - values.max(axis=1, keepdims=True, initial=-np.inf))
        values /= values.sum(axis=1, keepdims=True)
    elif head.chances == "sigmoid":
        values = 1 / (1 + np.exp(-values))
    return [
        [Label(head.labels[i], float(row[i])) for i in np.argsort(-row, kind="stable")]
        for row in values
    ]


def _rows(rows: Sequence[npt.NDArray[np.float32]], columns: int) -> npt.NDArray[np.float32]:
    return np.stack(rows) if rows else np.empty((0, columns), np.float32)
