"""The level of log messages, by the levels of Python's logging."""

from __future__ import annotations

import logging

_LEVELS = (
    logging.CRITICAL,
    logging.ERROR,
    logging.WARNING,
    logging.INFO,
    logging.DEBUG,
    logging.NOTSET,
)
_level = logging.WARNING


def set_log_level(level: int) -> None:
    """Sets the level of the logger "pytransformer"; ValueError if it is none of Python's six."""
    global _level
    if level not in _LEVELS:
        raise ValueError(f"Level {level} is not a valid logging level")
    _level = level
    logging.getLogger("pytransformer").setLevel(level)


def get_log_level() -> int:
    """The level that was set; logging.WARNING by default."""
    return _level
