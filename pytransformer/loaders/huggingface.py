"""What all model directories of Hugging Face have in common: JSON files, weights, shards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.pytorch_file import PytorchFile
from pytransformer.loaders.safetensors_file import SafetensorsFile
from pytransformer.loaders.tensor_source import FloatArray, TensorSource

_READERS: dict[str, Callable[[Path], TensorSource]] = {
    ".safetensors": SafetensorsFile,
    ".bin": PytorchFile,
}
# In the order in which transformers looks for them.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Much longer than any name or path, and short enough for messages.
_LONGEST_TEXT = 4096
# Deeper than files of models are. What walks through values uses up Python's stack.
_MAX_DEPTH = 64


class Settings:
    """A JSON object whose values are read with a check of their type.

    A missing or null value gives the default. A wrong one raises CheckpointError that names the
    file and the key.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values = values
        self.path = path

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Reads a file; raises CheckpointError if it is not a JSON object, or OSError."""
        return cls(read_json_object(path), path)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Settings:
        """The same settings, with those that are missing (not null) taken from `defaults`."""
        return Settings({**defaults, **self.values}, self.path)

    def get(self, key: str) -> Any:
        """The value as it stands, or None."""
        return self.values.get(key)

    def integer(self, key: str, default: int, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
        value = self._value(key, default)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.error(key, f"an integer from {minimum} to {maximum}")
        return value

    def number(self, key: str, default: float) -> float:
        value = self._value(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e30:
            raise self.error(key, "a finite number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def text(self, key: str, default: str) -> str:
        value = self._value(key, default)
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise self.error(key, f"text of at most {_LONGEST_TEXT} characters")
        return value

    def error(self, key: str, wanted: str) -> CheckpointError:
        """The error that says that a value is not what it should be."""
        return CheckpointError(
            f"{self.path}: {key} should be {wanted}, not {str(self.get(key))[:80]!r}"
        )

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a file that holds a JSON object; raises CheckpointError that names it."""
    value = parse_json(path.read_bytes(), path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return value


def model_type(path: Path) -> str | None:
    """What the config.json of a directory says of the kind of its model; None if it says nothing.

    Raises no CheckpointError, so that a file of another format that has the same name does no harm.
    """
    config = path / "config.json"
    if not config.is_file():
        return None
    try:
        value = read_json_object(config).get("model_type")
    except CheckpointError:
        return None
    return value if isinstance(value, str) else None


def parse_json(text: bytes, path: Path) -> Any:
    """Parses JSON; raises CheckpointError that names the file if it is broken or too deep."""
    try:
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: broken JSON: {error}") from None
    if _is_deeper(value, _MAX_DEPTH):
        raise CheckpointError(f"{path}: more than {_MAX_DEPTH} lists and objects within another")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level: list[Any] = [[value]]
    for _ in range(depth + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def open_weights(directory: Path) -> TensorSource:
    """The directory's weights: one file or shards, safetensors or PyTorch's own format."""
    for name in _WEIGHTS:
        path = directory / name
        if path.is_file():
            return _Shards(path) if path.suffix == ".json" else _READERS[path.suffix](path)
    foreign = (".h5", ".msgpack", ".onnx", ".npz")
    others = sorted(path.name for path in directory.iterdir() if path.suffix in foreign)
    found = f"; {', '.join(others)} cannot be read" if others else ""
    raise CheckpointError(f"{directory}: no weights, expected one of {', '.join(_WEIGHTS)}{found}")


class _Shards:
    """Weights in several files, listed by an index; a :class:`TensorSource`."""

    def __init__(self, index: Path) -> None:
        weight_map = read_json_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index}: weight_map is missing")
        files = {_plain_name(index, file) for file in weight_map.values()}
        sources = {file: _READERS[Path(file).suffix](index.parent / file) for file in sorted(files)}
        self._sources: dict[str, TensorSource] = {
            name: source for source in sources.values() for name in source.shapes
        }
        lost = [name for name, file in weight_map.items() if name not in sources[file].shapes]
        if lost:
            names = ", ".join(sorted(lost)[:20])
            raise CheckpointError(f"{index}: not in the shards that it names: {names}")

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: source.shapes[name] for name, source in self._sources.items()}

    def dtype(self, name: str) -> str:
        return self._sources[name].dtype(name)

    def read(self, name: str) -> FloatArray:
        return self._sources[name].read(name)


def _plain_name(index: Path, file: Any) -> str:
    # An index may only name files that lie beside it.
    if not isinstance(file, str) or os.path.basename(file) != file or "\\" in file or "\0" in file:
        shown = str(file)[:80]
        raise CheckpointError(f"{index}: a shard must be a plain file name, not {shown!r}")
    if Path(file).suffix not in _READERS or not (index.parent / file).is_file():
        raise CheckpointError(f"{index}: shard {file!r} is missing or is not a weights file")
    return file
