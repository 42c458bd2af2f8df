"""The exceptions of this package; every one of them is a :class:`PytransformerError`."""

from __future__ import annotations


class PytransformerError(Exception):
    """Base of all errors that this package raises on its own account."""


class CheckpointError(PytransformerError, ValueError):
    """Files of a model are broken, incomplete or contradict one another; the message names them."""


class UnsupportedModelError(CheckpointError):
    """The files are sound, but describe something that the engine does not compute."""


class OptionError(PytransformerError, ValueError):
    """An argument of a call that this model cannot serve, for example an unknown language."""


class MemoryLimitError(PytransformerError, MemoryError):
    """More than `max_memory` allows, even with nothing beside it; the message says what helps."""


class DecodingError(PytransformerError, ValueError):
    """A search that came to nothing: its options leave no token, or numbers are not finite."""
