"""CTranslate2's models of speech, none of which is supported."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}: only models that translate text are "
        "supported"
    )
