"""The version of CTranslate2 whose interface this package has."""

from __future__ import annotations

__version__ = "4.8.5"
