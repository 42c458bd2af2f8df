"""The positional encoding of "Attention Is All You Need"."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytransformer.errors import OptionError

_LONGEST_WAVE = 10000  # of 2 pi positions


def sinusoidal_positions(length: int, d_model: int) -> npt.NDArray[np.float32]:
    """What is added to the embeddings to tell positions apart (Vaswani et al. 2017, section 3.5).

    A sine in each even dimension 2i and a cosine in the next, of the wavelength
    2 pi 10000^(2i / d_model).

    Args:
        length: number of positions, from position 0.
        d_model: number of dimensions, even.

    Returns:
        [length, d_model]

    Raises:
        OptionError: the length is not positive, or d_model not positive and even.
    """
    if length < 1:
        raise OptionError(f"length is {length}, expected a positive integer")
    if d_model < 2 or d_model % 2:
        raise OptionError(f"d_model is {d_model}, expected a positive even integer")
    frequencies = np.power(float(_LONGEST_WAVE), -np.arange(0, d_model, 2) / d_model)
    angles = np.arange(length)[:, None] * frequencies
    table = np.empty((length, d_model), np.float32)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table
