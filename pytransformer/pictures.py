"""Pictures, made into the vectors that an encoder reads."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pytransformer.errors import CheckpointError, OptionError, UnsupportedModelError

FloatArray = npt.NDArray[np.float32]

# Pillow's filters work in whole numbers, with so many bits behind the point.
_FRACTION = 2.0**22
# Of a side, and of a picture in all channels; resizing takes some times as much memory.
_MOST_PIXELS, _MOST_NUMBERS = 4096, 2**24


class PictureReader:
    """Cuts pictures into patches, row by row, behind a vector of zeros for the class token.

    Settings: `height` and `width` of the pictures; `patch_height`, `patch_width`; `channels`;
    `resizes`, whether pictures of another size are resized; `rescale_factor`, `mean` and
    `deviation`, by which bytes become the numbers that the model reads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        try:
            self.size: tuple[int, int] = settings["height"], settings["width"]
            self._patch: tuple[int, int] = settings["patch_height"], settings["patch_width"]
            self._channels: int = settings["channels"]
            self._resizes: bool = settings["resizes"]
            factor, mean = settings["rescale_factor"], settings["mean"]
            deviation = np.array(settings["deviation"], np.float64)
            with np.errstate(all="ignore"):
                self._scale = float(factor) / deviation
                self._shift = np.array(mean, np.float64) / deviation
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the settings of pictures are incomplete: {error!r}") from None
        per_channel = self._scale.shape == self._shift.shape == (self._channels,)
        if not per_channel or not np.isfinite(np.add(self._scale, self._shift)).all():
            raise CheckpointError("the settings of pictures do not give finite numbers")
        if min(self._patch) < 1 or any(map(operator.gt, self._patch, self.size)):
            raise CheckpointError("the settings of pictures make no patches")
        if max(self.size) > _MOST_PIXELS or math.prod(self.size) * self._channels > _MOST_NUMBERS:
            raise UnsupportedModelError(
                f"pictures of {self.size[0]} x {self.size[1]} pixels in {self._channels} channels "
                "are larger than those that are supported"
            )

    def vectors(self, picture: object, name: str = "the picture") -> FloatArray:
        """The vectors [1 + patches, channels * patch_height * patch_width] of a picture.

        Args:
            picture: an array of floats [channels, height, width] as the model wants them, or of
                bytes [height, width, channels], which are prepared by :meth:`pixel_values`.
            name: what to call it in messages.
        """
        pixels = np.asarray(picture)
        if pixels.dtype == np.uint8:
            pixels = self.pixel_values(pixels, name)
        elif pixels.dtype.kind != "f":
            raise TypeError(f"{name} holds {pixels.dtype}, expected floats or bytes (uint8)")
        expected = (self._channels, *self.size)
        if pixels.shape != expected:
            raise OptionError(
                f"{name} has the shape {list(pixels.shape)}, expected {list(expected)} (channels, "
                f"height, width) of floats, or bytes (height, width, channels)"
            )
        height, width = self._patch
        rows, columns = self.size[0] // height, self.size[1] // width
        whole = pixels[:, : rows * height, : columns * width]
        patches = whole.reshape(self._channels, rows, height, columns, width)
        vectors = np.zeros((1 + rows * columns, self._channels * height * width), np.float32)
        vectors[1:] = patches.transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1)
        return vectors

    def pixel_values(self, image: object, name: str = "the picture") -> FloatArray:
        """The numbers [channels, height, width] that the model reads for an image.

        Args:
            image: bytes [height, width, channels] (uint8). One of another size than the model's is
                resized as Pillow does it with its bilinear filter.
            name: what to call it in messages.
        """
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8:
            raise TypeError(f"{name} holds {pixels.dtype}, expected bytes (uint8)")
        if pixels.ndim != 3 or pixels.shape[2] != self._channels or 0 in pixels.shape:
            raise OptionError(
                f"{name} has the shape {list(pixels.shape)}, expected bytes [height, width, "
                f"{self._channels}]"
            )
        if pixels.shape[:2] != self.size:
            if not self._resizes:
                raise OptionError(
                    f"{name} has {pixels.shape[0]} x {pixels.shape[1]} pixels, and this model "
                    f"resizes none; expected {self.size[0]} x {self.size[1]}"
                )
            pixels = resized(pixels, *self.size)
        values = pixels * self._scale - self._shift
        return np.ascontiguousarray(values.transpose(2, 0, 1), np.float32)


def resized(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Bytes [rows, columns, channels] in another size, by Pillow's bilinear filter.

    First across, then down, as Pillow did up to its version 12; later ones choose the order, which
    may change a byte by 1.
    """
    across = _filtered(pixels.transpose(0, 2, 1), width)
    down = _filtered(across.transpose(1, 2, 0), height)
    return np.ascontiguousarray(down.transpose(2, 1, 0))


def _filtered(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The last axis with another size."""
    if pixels.shape[-1] == size:
        return pixels
    # Exact: sums stay below 2^31.
    sums = pixels.astype(np.float64) @ _weights(pixels.shape[-1], size).T
    values = np.floor((sums + _FRACTION / 2) / _FRACTION)
    return cast("npt.NDArray[np.uint8]", np.clip(values, 0, 255).astype(np.uint8))


def _weights(old: int, new: int) -> npt.NDArray[np.float64]:
    """How much each old pixel counts in each new one [new, old]: a triangle over its place."""
    scale = old / new
    reach = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), old)
    places = np.arange(old)
    weights = np.maximum(1.0 - np.abs((places + 0.5 - centres[:, None]) / reach), 0.0)
    weights[(places < first[:, None]) | (places >= last[:, None])] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    whole: npt.NDArray[np.float64] = np.floor(weights * _FRACTION + 0.5)
    return whole
