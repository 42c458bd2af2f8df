"""A module with CTranslate2's interface, theirs or ours, and what its calls give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[["Peer"], Any]


class Peer:
    """A module with CTranslate2's interface, and a model."""

    def __init__(self, module: Any, path: Path) -> None:
        self.module = module
        self.path = str(path)
        self.translator = self.open()

    def open(self, path: str | None = None, *args: Any, **settings: Any) -> Any:
        settings = {"compute_type": "float32", "intra_threads": 1, **settings}
        return self.module.Translator(path or self.path, *args, **settings)

    def translate(self, *args: Any, **options: Any) -> Any:
        return self.translator.translate_batch(*args, **options)

    def files(self) -> dict[str, bytes]:
        return {item.name: item.read_bytes() for item in Path(self.path).iterdir()}


def outcome(call: Call, peer: Peer) -> Any:
    """What a call gives as JSON holds it; of an error, its kind."""
    try:
        return plain(call(peer))
    except (TypeError, ValueError, RuntimeError) as error:
        # Ours may be several at once; CTranslate2's are one of these.
        kinds = (RuntimeError, TypeError, ValueError)
        return {"error": next(kind.__name__ for kind in kinds if isinstance(error, kind))}


def plain(value: Any) -> Any:
    """A value of either module as JSON holds it."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    for names in (
        ("hypotheses", "scores", "attention"),
        ("tokens", "log_probs"),
        ("step", "batch_id", "token_id", "hypothesis_id", "token", "log_prob", "is_last"),
    ):
        if hasattr(value, names[0]):
            return {name: plain(getattr(value, name)) for name in names}
    raise AssertionError(type(value))
