"""Fast translation with Transformer models on a CPU.

>>> import pytransformer
>>> pytransformer.Translator().translate("Ein Hund läuft durch den Schnee.", tgt_lang="en")
'A dog runs through the snow.'
"""

from __future__ import annotations

try:
    from pytransformer import _native  # noqa: F401
except ImportError as error:
    from importlib.util import find_spec

    if find_spec("pytransformer._native") is not None:
        raise
    raise ImportError(
        f"there is no compiled engine in {__path__[0]}, which seems to be the source; start Python "
        "in another folder to use the installed package, or install it as editable"
    ) from error
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
