"""How the command line writes quantities."""

from __future__ import annotations


def megabytes(size_bytes: int) -> str:
    """A size in megabytes of 1,000,000 bytes."""
    return f"{size_bytes / 1e6:,.1f} MB"
