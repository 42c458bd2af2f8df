"""What tests of checkpoints that PyTorch's toolkits wrote have in common."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mutations import damaged
from pytransformer.errors import CheckpointError
from pytransformer.model_spec import Checkpoint
from random_models import make_engine

TOLERANCE = 1e-4  # of the root mean square of a row of logits

Logits = Callable[[list[int], list[int]], torch.Tensor]


def shared_models(shared_data: Path, name: str) -> Path:
    """The folder of a toolkit's trained models; skips where there is none."""
    folder = shared_data.parent / "models" / name
    if not folder.is_dir():
        pytest.skip(f"no models at {folder}")
    return folder


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> None:
    """Weights large enough that logits differ clearly, norms and biases away from 1 and 0."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(0.0, parameter.shape[1] ** -0.5)
        elif name.endswith(("weight", "a_2")):
            parameter.normal_(1.0, 0.2)
        else:
            parameter.normal_(0.0, 0.2)


def assert_same_logits(
    checkpoint: Checkpoint, logits: Logits, sizes: tuple[int, int], longest: int = 20
) -> None:
    """The engine's logits are those of a model, for random sentences of several lengths."""
    engine = make_engine(checkpoint)
    rng = np.random.default_rng(1)
    for length in (1, 2, 7, longest):
        source = rng.integers(0, sizes[0], length).tolist()
        target = rng.integers(0, sizes[1], int(rng.integers(1, longest + 1))).tolist()
        with torch.no_grad():
            expected = logits(source, target).double().numpy()
        size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
        assert (np.abs(engine.logits(source, target) - expected) <= TOLERANCE * size).all()


@contextlib.contextmanager
def classes(names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Empty classes under full names, which can be pickled although their modules do not exist."""
    made: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            parts = name.split(".")
            for n in range(1, len(parts)):
                module = ".".join(parts[:n])
                if module not in sys.modules:
                    patch.setitem(sys.modules, module, ModuleType(module))
            module = sys.modules[".".join(parts[:-1])]
            made[name] = type(parts[-1], (), {"__module__": module.__name__})
            patch.setattr(module, parts[-1], made[name], raising=False)
        yield made


def instance(kind: type, **attributes: Any) -> Any:
    """An object of a class, made without calling it."""
    made = object.__new__(kind)
    made.__dict__.update(attributes)
    return made


def assert_survives_damage(
    content: bytes, path: Path, load: Callable[[Path], Checkpoint], count: int
) -> None:
    """Damaged copies of a file are read, or refused with the loaders' own error."""
    refused = 0
    for changed in damaged(content, count):
        path.write_bytes(changed)
        refused += 1
        with contextlib.suppress(CheckpointError):
            tensors = load(path).tensors
            for name in tensors:
                tensors[name]
            refused -= 1
    assert 0 < refused < count


def same_lists(found: Sequence[Any], expected: Sequence[Any]) -> int:
    """How many of two lists' items are equal."""
    return sum(a == b for a, b in zip(found, expected, strict=True))
