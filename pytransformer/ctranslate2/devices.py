"""Devices and compute types by CTranslate2's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Ours, by what a caller may ask for. CTranslate2 also has types that need another processor.
_COMPUTE_TYPES = {
    "default": "default",
    "auto": "auto",
    "float32": "float32",
    "float": "float32",
    "bfloat16": "bfloat16",
    "int8": "int8",
    "int8_float32": "int8",
}
_UNSUPPORTED_TYPES = ("int8_float16", "int8_bfloat16", "int16", "float16")
# What a model computes in, by ours.
_EFFECTIVE = {"int8": "int8_float32"}


def get_cuda_device_count() -> int:
    """0: there is no other device than the CPU."""
    return 0


def get_supported_compute_types(device: str, device_index: int = 0) -> set[str]:
    """The compute types that a model can be opened in.

    Raises ValueError for an unknown device, RuntimeError for a GPU.
    """
    check_device(device)
    check_device_indices([device_index])
    return {"bfloat16", "float32", "int8", "int8_float32"}


def check_device(device: str) -> str:
    """The device "cpu", for which "auto" stands too; raises as above."""
    if device not in ("cpu", "auto", "cuda", "CPU", "AUTO", "CUDA"):
        raise ValueError(f"unsupported device {device}")
    if device.lower() == "cuda":
        raise RuntimeError("pytransformer computes on the CPU, there is no CUDA device")
    return "cpu"


def check_device_indices(indices: Sequence[int]) -> list[int]:
    """The indices as a list; raises ValueError if there are none, or others than 0."""
    if not indices:
        raise ValueError("At least one device index should be set")
    for index in indices:
        if index != 0:
            raise ValueError(f"Invalid CPU device index: {index}")
    return list(indices)


def our_compute_type(wanted: str | Mapping[str, str], device: str) -> str:
    """Our name of a compute type, which may be given by device; ValueError for an unknown one."""
    name = wanted if isinstance(wanted, str) else wanted.get(device, "default")
    if name in _UNSUPPORTED_TYPES:
        raise ValueError(
            f"Requested {name} compute type, but the target device or backend do not support "
            f"efficient {name} computation."
        )
    if name not in _COMPUTE_TYPES:
        raise ValueError(f"Invalid compute type: {name}")
    return _COMPUTE_TYPES[name]


def effective_compute_type(ours: str) -> str:
    """CTranslate2's name for what a model computes in."""
    return _EFFECTIVE.get(ours, ours)
