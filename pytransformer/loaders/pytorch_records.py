"""What the checkpoints of PyTorch's toolkits have in common: options in a record, several files."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.pickle_machine import Constructor, Record, as_given, passive, records
from pytransformer.loaders.pytorch_file import PytorchObject, is_pytorch_file

# What a training program may leave in any checkpoint: options, counters, numbers of NumPy.
COMMON_NAMES: dict[str, Constructor | None] = {
    **records(
        "argparse.Namespace",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "torch.device",
    ),
    **passive("__builtin__.long", "numpy.ndarray"),
    **passive("torch.FloatTensor", "torch.LongTensor"),  # types of Python, not of storages
    **passive("torch.float16", "torch.float32", "torch.int64"),
    "__builtin__.set": as_given,
    "_codecs.encode": as_given,  # bytes
}

_Atom = (str, int, float, type(None))


def checkpoint_files(path: Path, keys: Iterable[str]) -> list[Path]:
    """The files at a path, or in a directory, whose object is a dictionary with these keys.

    What cannot be read is none of them.
    """
    files = sorted(path.glob("*.pt")) if path.is_dir() else [path]
    return [file for file in files if set(keys) <= _keys(file)]


def _keys(file: Path) -> frozenset[object]:
    if not is_pytorch_file(file):
        return frozenset()
    status = file.stat()
    return _read_keys(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _read_keys(file: Path, _changed: int, _size: int) -> frozenset[object]:
    # Several loaders ask for the keys of one file.
    try:
        root = PytorchObject(file, lenient=True).root
    except CheckpointError:
        return frozenset()
    return frozenset(root) if isinstance(root, dict) else frozenset()


def attributes(value: object) -> Mapping[Any, Any]:
    """The attributes of a record, or a dictionary as it is; nothing of anything else."""
    if isinstance(value, Record):
        value = value.attributes
    return value if isinstance(value, dict) else {}


def plain_options(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Options with texts, numbers and flat lists as they are, and names of types for all else.

    A nested value of a few bytes may be endless when written out, so that no message may hold it.
    """
    return {key: _plain(value) for key, value in values.items() if isinstance(key, str)}


def _plain(value: Any) -> Any:
    if isinstance(value, _Atom):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, _Atom) for item in value):
        return list(value)
    return f"<{type(value).__name__}>"


def choice(options: Settings, key: str, default: str, known: Mapping[str, Any]) -> Any:
    """What the name that an option gives stands for; UnsupportedModelError for an unknown one."""
    name = options.text(key, default)
    if name not in known:
        raise UnsupportedModelError(
            f"{options.path}: {key} {name!r} is not one of {', '.join(sorted(known))}"
        )
    return known[name]


def positive(options: Settings, key: str, default: float) -> float:
    """A number above 0; raises CheckpointError."""
    value = options.number(key, default)
    if value <= 0:
        raise options.error(key, "a number above 0")
    return value


def refuse_changes(options: Settings, without_effect: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises UnsupportedModelError that names all options which change what is computed.

    `without_effect` lists the values that change nothing; those of options not given never do.
    """
    wrong = [
        f"{key} = {options.get(key)!r:.80}"
        for key, values in without_effect.items()
        if options.get(key) is not None and options.get(key) not in values
    ]
    if wrong:
        raise UnsupportedModelError(f"{options.path}: not supported: {', '.join(wrong)}")
