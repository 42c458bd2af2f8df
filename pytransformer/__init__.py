"""Fast translation with Transformer models on a CPU.

>>> import pytransformer
>>> pytransformer.Translator().translate("Ein Hund läuft durch den Schnee.", tgt_lang="en")
'A dog runs through the snow.'
"""

from __future__ import annotations

import importlib
import os

try:
    from pytransformer import _native
except ImportError as error:
    from importlib.util import find_spec

    if find_spec("pytransformer._native") is not None:
        raise
    raise ImportError(
        f"there is no compiled engine in {__path__[0]}, which seems to be the source; start Python "
        "in another folder to use the installed package, or install it as editable"
    ) from error
from typing import TYPE_CHECKING

from pytransformer.errors import (
    CheckpointError,
    DecodingError,
    MemoryLimitError,
    OptionError,
    PytransformerError,
    UnsupportedModelError,
)
from pytransformer.inputs import InputLengthError
from pytransformer.options import TranslationOptions
from pytransformer.pending import AsyncResult
from pytransformer.results import (
    ExecutionStats,
    GenerationResult,
    GenerationStepResult,
    ScoredText,
    ScoringResult,
    TranslationResult,
)
from pytransformer.translator import Translator

if TYPE_CHECKING:
    from pytransformer.encoder import Encoder
    from pytransformer.encoder_results import EncoderOutput
    from pytransformer.generator import Generator
    from pytransformer.pipelines import pipeline

__version__ = "0.1.0"

# CTranslate2's names.
AsyncTranslationResult = AsyncResult
AsyncScoringResult = AsyncResult

__all__ = [
    "AsyncResult",
    "AsyncScoringResult",
    "AsyncTranslationResult",
    "CheckpointError",
    "DecodingError",
    "Encoder",
    "EncoderOutput",
    "ExecutionStats",
    "GenerationResult",
    "GenerationStepResult",
    "Generator",
    "InputLengthError",
    "MemoryLimitError",
    "OptionError",
    "PytransformerError",
    "ScoredText",
    "ScoringResult",
    "TranslationOptions",
    "TranslationResult",
    "Translator",
    "UnsupportedModelError",
    "__version__",
    "get_include",
    "pipeline",
]


def get_include() -> str:
    """The folder of pytransformer.h and pytransformer.hpp, as `cimport pytransformer` needs it."""
    return os.path.join(os.path.dirname(_native.__file__), "include")


# What few programs need is imported when it is first used: names by their modules.
_LATER = {
    "Encoder": "encoder",
    "EncoderOutput": "encoder_results",
    "Generator": "generator",
    "pipeline": "pipelines",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(importlib.import_module(f"pytransformer.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
