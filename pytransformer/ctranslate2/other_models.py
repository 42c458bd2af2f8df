"""CTranslate2's classes for models that do not translate, which are not supported."""

from __future__ import annotations

from typing import Any


class Generator:
    """Language models; raises RuntimeError."""

    def __init__(self, model_path: str, device: str = "cpu", **settings: Any) -> None:
        del device, settings
        raise RuntimeError(f"{model_path}: language models are not supported")


class Encoder:
    """Encoders without a decoder; raises RuntimeError."""

    def __init__(self, model_path: str, device: str = "cpu", **settings: Any) -> None:
        del device, settings
        raise RuntimeError(f"{model_path}: encoders without a decoder are not supported")
