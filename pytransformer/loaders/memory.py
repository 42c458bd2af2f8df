"""Models that are in memory: a configuration, arrays by name, and the contents of files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pytransformer import loaders
from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import Checkpoint

# NumPy's element types by their safetensors names.
_FLOATS = {"float64": "F64", "float32": "F32", "float16": "F16"}


@runtime_checkable
class _Builder(Protocol):
    """A loader of directories that can do without their weights' files."""

    @property
    def DESCRIPTION(self) -> str: ...  # noqa: N802

    def recognises(self, path: Path) -> bool: ...

    def build(self, directory: Path, config: Settings, source: TensorSource) -> Checkpoint: ...


class MemorySource:
    """Arrays of floats by name; a :class:`TensorSource`.

    Raises CheckpointError if one of them is none.
    """

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._arrays = {name: np.asarray(value) for name, value in tensors.items()}
        for name, array in self._arrays.items():
            if array.dtype.name not in _FLOATS:
                raise CheckpointError(
                    f"<memory>: tensor {name!r} is {array.dtype}, expected one of "
                    f"{', '.join(_FLOATS)}"
                )

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self._arrays.items()}

    def dtype(self, name: str) -> str:
        return _FLOATS[self._arrays[name].dtype.name]

    def read(self, name: str) -> FloatArray:
        # A float64 beyond the range of float32 becomes infinite, which the loader reports by name.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(self._arrays[name], np.float32)


def load_from_memory(
    config: Mapping[str, Any],
    tensors: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
) -> Checkpoint:
    """The checkpoint that a configuration describes.

    Args:
        config: the description of a state dict (see :mod:`pytransformer.loaders.state_dict`), or
            the contents of a Hugging Face config.json.
        tensors: the weights by the names in the state dict; arrays of float16, float32 or float64.
        files: contents of the files that would lie beside the weights, such as the tokenizer's.

    Raises CheckpointError or UnsupportedModelError as loading from files does. The arrays are not
    copied, and must not change while the checkpoint is used.
    """
    source = MemorySource(tensors)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file, content in {**(files or {}), "config.json": _as_json(config)}.items():
            if Path(file).name != file:
                raise CheckpointError(f"<memory>: a file must have a plain name, not {file[:80]!r}")
            (directory / file).write_bytes(content)
        settings = Settings.read(directory / "config.json")
        builders = [loader for loader in loaders._LOADERS if isinstance(loader, _Builder)]
        for builder in builders:
            if builder.recognises(directory):
                return builder.build(directory, settings, source)
    known = "; ".join(builder.DESCRIPTION for builder in builders)
    raise CheckpointError(f"<memory>: config describes no model of a known kind: {known}")


def _as_json(config: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(config)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"<memory>: config is not what JSON can hold: {error}") from None
