"""Matches the tensors of a checkpoint with those that the architecture asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytransformer.errors import CheckpointError
from pytransformer.loaders.tensor_source import FloatArray, LazyTensors, TensorSource, all_finite

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Planned:
    """Where a canonical tensor comes from, and what makes it of the stored one, if anything does.

    Several canonical tensors may come from one that is stored, each with a transform of its own.
    """

    stored: str
    shape: Shape  # as stored
    transform: Callable[[FloatArray], FloatArray] | None = None


# By canonical name, see pytransformer.model_spec.
TensorPlan = Mapping[str, Planned]


def bind(
    path: Path,
    source: TensorSource,
    plan: TensorPlan,
    also_allowed: Mapping[str, Shape],
    described_by: str = "config.json",
) -> LazyTensors:
    """The planned tensors, to be read from `source` on demand.

    `also_allowed` are tensors that may be stored as well, since they can be derived from the
    others. Raises one CheckpointError that lists every tensor that is missing, left over or of a
    wrong shape, or else every tensor that holds a NaN or an infinity. In it `path` names the
    checkpoint, and `described_by` what said which tensors there should be.
    """
    faults = _misfits(source, plan, also_allowed)
    if faults:
        raise CheckpointError(_listing(f"{path}: the weights do not fit {described_by}", faults))
    stored = sorted({planned.stored for planned in plan.values()})
    faults = [name for name in stored if not all_finite(source.read(name))]
    if faults:
        raise CheckpointError(_listing(f"{path}: NaN or infinite weights", faults))
    return LazyTensors({name: _Reader(source, planned) for name, planned in plan.items()})


def _misfits(
    source: TensorSource, plan: TensorPlan, also_allowed: Mapping[str, Shape]
) -> list[str]:
    found = source.shapes
    wanted = {planned.stored: planned.shape for planned in plan.values()}
    known = {**also_allowed, **wanted}
    faults = [f"missing: {name} {shape}" for name, shape in wanted.items() if name not in found]
    for name, shape in found.items():
        if name not in known:
            faults.append(f"left over: {name} {shape}")
        elif shape != known[name]:
            faults.append(f"wrong shape: {name} is {shape}, should be {known[name]}")
    return sorted(faults)


def _listing(title: str, faults: list[str]) -> str:
    return title + ":\n  " + "\n  ".join(faults)


@dataclass(frozen=True)
class _Reader:
    source: TensorSource
    planned: Planned

    def __call__(self) -> FloatArray:
        values = self.source.read(self.planned.stored)
        transform = self.planned.transform
        return values if transform is None else transform(values)
