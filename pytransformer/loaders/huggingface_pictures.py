"""How a Hugging Face directory wants pictures prepared: preprocessor_config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytransformer.errors import UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.model_spec import PICTURES, TokenizerSpec

_MOST = 2**16
_BILINEAR = 2  # as Pillow numbers the filters
_HALF = 0.5  # ImageNet's "standard" mean and deviation


def read_size(settings: Settings, key: str, default: int) -> tuple[int, int]:
    """A height and a width, given as one number for both, or as a list."""
    value = settings.get(key)
    if isinstance(value, list):
        if len(value) == 2 and all(type(item) is int and 0 < item <= _MOST for item in value):
            return value[0], value[1]
        raise settings.error(key, "a number, or a height and a width")
    size = settings.integer(key, default, 1, _MOST)
    return size, size


def read_pictures(
    directory: Path, size: tuple[int, int], patch_size: tuple[int, int], channels: int
) -> TokenizerSpec:
    """What makes vectors of pictures, for a model of pictures of one size.

    Without a preprocessor_config.json, what is usual for ViT. Raises CheckpointError for impossible
    values, UnsupportedModelError for a step that is not known.
    """
    path = directory / "preprocessor_config.json"
    given = Settings.read(path) if path.is_file() else Settings({}, path)
    for flag in ("do_center_crop", "do_pad"):
        if given.flag(flag, False):
            raise UnsupportedModelError(f"{path}: {flag} = true is not supported")
    resizes = given.flag("do_resize", True)
    if resizes:
        _check_resizing(given, size)
    settings = {
        "height": size[0],
        "width": size[1],
        "patch_height": patch_size[0],
        "patch_width": patch_size[1],
        "channels": channels,
        "resizes": resizes,
        "rescale_factor": given.number("rescale_factor", 1 / 255)
        if given.flag("do_rescale", True)
        else 1.0,
        "mean": _numbers(given, "image_mean", channels, _HALF),
        "deviation": _numbers(given, "image_std", channels, _HALF),
    }
    if not given.flag("do_normalize", True):
        settings |= {"mean": [0.0] * channels, "deviation": [1.0] * channels}
    return TokenizerSpec(PICTURES, settings)


def _check_resizing(given: Settings, size: tuple[int, int]) -> None:
    wanted = given.get("size")
    if isinstance(wanted, dict):
        found = wanted.get("height"), wanted.get("width")
    elif wanted is None:
        found = size
    else:
        found = read_size(given, "size", size[0])
    if found != size:
        raise UnsupportedModelError(
            f"{given.path}: size is {str(wanted)[:80]}, but the model reads pictures of "
            f"{size[0]} x {size[1]}"
        )
    resample = given.integer("resample", _BILINEAR)
    if resample != _BILINEAR:
        raise UnsupportedModelError(
            f"{given.path}: resample = {resample} is not supported, only 2 (bilinear)"
        )


def _numbers(given: Settings, key: str, channels: int, default: float) -> list[float]:
    values: Any = given.get(key)
    if values is None:
        return [default] * channels
    if not isinstance(values, list):
        values = [values] * channels
    numbers = [Settings({key: value}, given.path).number(key, default) for value in values]
    if len(numbers) != channels or (key == "image_std" and 0.0 in numbers):
        raise given.error(key, f"{channels} numbers, and a deviation no zero")
    return numbers
