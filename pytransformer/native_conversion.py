"""A native file's matrices in another compute type."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer import _native, native
from pytransformer.compute_types import resolve
from pytransformer.errors import CheckpointError
from pytransformer.native_entry import Entry, Matrix, panels_per_block
from pytransformer.native_header import read_config, read_header
from pytransformer.native_layout import entries
from pytransformer.panels import FORMATS, Tensor
from pytransformer.quantization import FloatArray


@dataclass(frozen=True)
class _Stored:
    """A tensor of the file, mapped."""

    tensor: Tensor
    values: npt.NDArray[Any]

    def entry(self) -> Entry:
        """The same in another file."""

        def fill(target: npt.NDArray[Any]) -> None:
            target[...] = self.values

        return Entry((self.tensor,), fill)


def converted_image(
    path: str | os.PathLike[str], model: _native.Model, compute_type: str
) -> native.Image | None:
    """The native file at `path` with its matrices in a compute type; None if all have it already.

    Matrices that have it, and whatever is no matrix, are copied as they are. One block of a matrix
    is converted at a time, so that hardly more memory is needed than the image takes.

    Args:
        path: the file.
        model: the same file, opened by the engine, which checks all that it says of its tensors.
        compute_type: as :class:`pytransformer.Translator` takes it.

    Raises:
        OptionError: an unknown compute type.
        CheckpointError: weights hold NaN or infinity, which int8 and int4 have not, or the file is
            no longer the one that was opened; names the file.
    """
    wanted = resolve(compute_type, model.compute_type)
    if wanted is None:
        return None
    _, spec, _, _ = read_config(model.config)
    matrices = [item for item in entries(spec, {}) if isinstance(item, Matrix)]
    header, start = read_header(path)
    content = np.memmap(path, np.uint8, "r")[start:].view(np.ndarray)
    try:
        plan = _plan(_map_tensors(header, content), matrices, wanted)
        return None if plan is None else native.assemble(model.config, plan)
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from None


def _map_tensors(header: Mapping[str, Any], content: npt.NDArray[np.uint8]) -> dict[str, _Stored]:
    """All tensors, in the order of the header."""
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    try:
        return {name: _map_tensor(name, value, content) for name, value in tensors.items()}
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        # The engine has read the same header without complaint.
        raise CheckpointError(f"the file changed while it was read ({error})") from None


def _map_tensor(name: str, value: Any, content: npt.NDArray[np.uint8]) -> _Stored:
    tensor = Tensor(name, value["dtype"], tuple(value["shape"]))
    begin, end = value["data_offsets"]
    values = content[begin:end].view(native.DTYPES[tensor.dtype]).reshape(tensor.shape)
    if values.shape != tensor.shape:
        raise ValueError(f"{name} has an impossible shape")
    return _Stored(tensor, values)


def _plan(
    stored: Mapping[str, _Stored], matrices: Iterable[Matrix], wanted: str
) -> list[Entry] | None:
    """The tensors in the order of the file; None if no matrix has another type than wanted."""
    converted: dict[str, Entry] = {}
    replaced: set[str] = set()
    for matrix in matrices:
        present = _stored_type(stored, matrix)
        if present != wanted:
            parts = [stored[tensor.name] for tensor in matrix.stored_as(present).tensors]
            replaced |= {part.tensor.name for part in parts}
            blocks = functools.partial(_blocks, matrix, present, [part.values for part in parts])
            converted[matrix.name] = dataclasses.replace(matrix, blocks=blocks).stored_as(wanted)
    if not converted:
        return None
    return [
        converted[name] if name in converted else item.entry()
        for name, item in stored.items()
        if name in converted or name not in replaced
    ]


def _stored_type(stored: Mapping[str, _Stored], matrix: Matrix) -> str:
    for compute_type in FORMATS:
        tensors = matrix.stored_as(compute_type).tensors
        if all(t.name in stored and stored[t.name].tensor == t for t in tensors):
            return compute_type
    raise CheckpointError(f"the file changed while it was read ({matrix.name})")


def _blocks(
    matrix: Matrix, compute_type: str, arrays: list[npt.NDArray[Any]]
) -> Iterator[FloatArray]:
    """The rows of a stored matrix, block by block."""
    unpack = FORMATS[compute_type].unpack
    step = panels_per_block(matrix.inputs)
    for first in range(0, matrix.panels, step):
        stop = min(first + step, matrix.panels)
        # Scales of int8 have no dimension for panels, but 16 numbers for each.
        per_panel = [len(array) // matrix.panels for array in arrays]
        parts = zip(arrays, per_panel, strict=True)
        yield unpack(tuple(a[first * n : stop * n] for a, n in parts), matrix.inputs)
