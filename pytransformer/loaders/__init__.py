"""Reads checkpoints of other toolkits into one form, `pytransformer.model_spec.Checkpoint`.

One module per format. Each has `DESCRIPTION`, `recognises(path)`, which looks at the content and
not at names alone, and `load(path)`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders import (
    ctranslate2,
    fairseq,
    huggingface_bert,
    huggingface_gpt2,
    huggingface_t5,
    huggingface_vit,
    marian,
    opennmt_py,
    state_dict,
)
from pytransformer.loaders.huggingface import model_type, read_json_object
from pytransformer.loaders.huggingface_bart import BART, FSMT, M2M_100, MBART, PEGASUS
from pytransformer.loaders.huggingface_marian import MARIAN
from pytransformer.model_spec import Checkpoint

__all__ = ["load"]


class _Loader(Protocol):
    @property
    def DESCRIPTION(self) -> str: ...  # noqa: N802

    def recognises(self, path: Path) -> bool: ...

    def load(self, path: Path) -> Checkpoint: ...


_LOADERS: tuple[_Loader, ...] = (
    MARIAN,
    M2M_100,
    MBART,
    BART,
    PEGASUS,
    FSMT,
    huggingface_t5,
    huggingface_bert,
    huggingface_vit,
    huggingface_gpt2,
    ctranslate2,
    opennmt_py,
    fairseq,
    state_dict,
    marian,
)

# Hugging Face's types that are taken for one of those above.
_UNSUPPORTED_TYPES = {
    "nllb-moe": "a mixture of experts",
    "switch_transformers": "a mixture of experts",
    "pegasus_x": "attention in blocks",
    "bigbird_pegasus": "sparse attention",
    "led": "attention in windows",
    "longt5": "attention in blocks",
    "prophetnet": "several predictions a step",
    "blenderbot": "a model of conversations",
    "blenderbot-small": "a model of conversations",
}


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint in any known format.

    The weights are read lazily: `tensors` of the result reads one from the disk whenever it is
    asked for. Raises FileNotFoundError if there is nothing at `path`, CheckpointError if it is not
    a known format, is broken or incomplete, UnsupportedModelError if the engine cannot compute the
    model.
    """
    location = Path(path)
    if not location.exists():
        raise FileNotFoundError(errno.ENOENT, "no such model file or directory", os.fspath(path))
    for loader in _LOADERS:
        if loader.recognises(location):
            return loader.load(location)
    _refuse_foreign_type(location)
    known = "".join(f"\n  {loader.DESCRIPTION}" for loader in _LOADERS)
    raise CheckpointError(f"{location}: {_what_is_there(location)}. Known formats:{known}")


def _refuse_foreign_type(location: Path) -> None:
    """Raises UnsupportedModelError for a type of model that is known and not supported."""
    name = model_type(location)
    if name in _UNSUPPORTED_TYPES:
        raise UnsupportedModelError(
            f"{location}: Hugging Face models of type {name!r} ({_UNSUPPORTED_TYPES[name]}) are "
            "not supported"
        )


def _what_is_there(location: Path) -> str:
    if not location.is_dir():
        return "a file in no known format"
    config = location / "config.json"
    if config.is_file():
        model_type = str(read_json_object(config).get("model_type"))[:80]
        return (
            f"a Hugging Face model of the unknown type {model_type!r} (model_type in config.json)"
        )
    names = sorted(item.name for item in location.iterdir())
    listing = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"a directory in no known format, with {listing or 'nothing in it'}"
