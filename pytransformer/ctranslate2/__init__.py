"""CTranslate2's Python interface, computed by pytransformer.

A program that imports ctranslate2 runs on this engine after a change of one line::

    import pytransformer.ctranslate2 as ctranslate2

Names, options, defaults, results and types of errors are those of CTranslate2 4.8.5.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from pytransformer.ctranslate2.devices import get_cuda_device_count, get_supported_compute_types
from pytransformer.ctranslate2.encoder import Encoder
from pytransformer.ctranslate2.generator import Generator
from pytransformer.ctranslate2.logging import get_log_level, set_log_level
from pytransformer.ctranslate2.results import (
    AsyncGenerationResult,
    AsyncScoringResult,
    AsyncTranslationResult,
    EncoderForwardOutput,
    ExecutionStats,
    GenerationResult,
    GenerationStepResult,
    ScoringResult,
    TranslationResult,
)
from pytransformer.ctranslate2.sentences import set_random_seed
from pytransformer.ctranslate2.storage_view import DataType, Device, StorageView
from pytransformer.ctranslate2.translator import Translator
from pytransformer.ctranslate2.version import __version__

__all__ = [
    "AsyncGenerationResult",
    "AsyncScoringResult",
    "AsyncTranslationResult",
    "DataType",
    "Device",
    "Encoder",
    "EncoderForwardOutput",
    "ExecutionStats",
    "GenerationResult",
    "GenerationStepResult",
    "Generator",
    "ScoringResult",
    "StorageView",
    "TranslationResult",
    "Translator",
    "__version__",
    "contains_model",
    "get_cuda_device_count",
    "get_log_level",
    "get_supported_compute_types",
    "set_log_level",
    "set_random_seed",
]


def contains_model(path: str) -> bool:
    """Whether a directory seems to hold a model: whether there is a model.bin."""
    return os.path.isfile(os.path.join(path, "model.bin"))


def __getattr__(name: str) -> ModuleType:
    """What few programs need is imported when it is first used."""
    if name in ("converters", "models", "specs"):
        return importlib.import_module(f"pytransformer.ctranslate2.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
