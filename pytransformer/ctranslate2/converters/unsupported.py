"""Converters that CTranslate2 has for toolkits whose checkpoints are not read here."""

from __future__ import annotations

from typing import Any

from pytransformer.ctranslate2.converters.converter import Converter


class OpenNMTTFConverter(Converter):
    """Not supported: raises NotImplementedError."""

    def __init__(self, model: Any) -> None:
        raise NotImplementedError("checkpoints of OpenNMT-tf are not supported")

    @classmethod
    def from_config(
        cls,
        config: Any,
        auto_config: bool = False,
        checkpoint_path: str | None = None,
        model: str | None = None,
    ) -> OpenNMTTFConverter:
        """Raises NotImplementedError."""
        del auto_config, checkpoint_path, model
        return cls(config)


class OpenAIGPT2Converter(Converter):
    """Not supported: raises NotImplementedError."""

    def __init__(self, model_dir: str) -> None:
        raise NotImplementedError("checkpoints of GPT-2 in TensorFlow's format are not supported")
