"""Fast translation with Transformer models on a CPU.

>>> import pytransformer
>>> pytransformer.Translator().translate("Ein Hund läuft durch den Schnee.", tgt_lang="en")
'A dog is running through the snow.'
"""

from __future__ import annotations

from pytransformer.errors import (
    CheckpointError,
    OptionError,
    PytransformerError,
    UnsupportedModelError,
)
from pytransformer.options import TranslationOptions
from pytransformer.translator import InputLengthError, TranslationResult, Translator

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "InputLengthError",
    "OptionError",
    "PytransformerError",
    "TranslationOptions",
    "TranslationResult",
    "Translator",
    "UnsupportedModelError",
    "__version__",
]
