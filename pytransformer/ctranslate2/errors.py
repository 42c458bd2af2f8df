"""Errors as CTranslate2's programs expect them: of Python's own types."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.inputs import InputLengthError


class ModelError(CheckpointError, RuntimeError):
    """A model cannot be opened; CTranslate2 raises RuntimeError."""


class PositionError(OptionError, RuntimeError):
    """A sentence is longer than the model's positions; CTranslate2 raises RuntimeError."""


@contextlib.contextmanager
def as_ctranslate2() -> Iterator[None]:
    """Turns our errors into those that CTranslate2 raises; what is alike stays as it is."""
    try:
        yield
    except ModelError:
        raise
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    except InputLengthError as error:
        raise PositionError(
            f"No position encodings are defined for positions >= {error.limit}: input "
            f"{error.index} has {error.length} tokens"
        ) from error
