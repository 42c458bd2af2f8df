"""Files of the models that a benchmark makes for itself and for other engines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_once(path: Path, make: Callable[[Path], None]) -> None:
    """Lets `make` write the directory `path`, unless it is there; it appears when complete."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make(temporary)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def tokenizer_setting(directory: Path, key: str, default: Any) -> Any:
    """A value of a Hugging Face directory's tokenizer_config.json, or the default."""
    path = directory / "tokenizer_config.json"
    value = json.loads(path.read_text("utf-8")).get(key) if path.is_file() else None
    if isinstance(value, dict):  # as old versions wrote a token and its settings
        value = value["content"]
    return default if value is None else value
