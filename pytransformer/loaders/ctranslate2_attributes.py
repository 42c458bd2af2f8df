"""The attributes of CTranslate2's models: scalars that say how the weights are used."""

from __future__ import annotations

import math
import re

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.ctranslate2_file import Ctranslate2File

_SIDES = ("encoder", "decoder")
_FIRST_REVISION_WITH_HEADS = 3
_FIRST_REVISION_WITH_SIDES = 5
_HEADS = {"TransformerBase": 8, "TransformerBig": 16}

# What the loader reads where it belongs, by the last part of the name.
_READ = frozenset((
    "num_heads", "pre_norm", "activation", "scale_embeddings", "multiply_by_sqrt_depth",
    "alignment_layer", "alignment_heads", "start_from_zero_embedding", "scale_outputs",
    "queries_scale", "head_dim", "num_heads_kv", "relative_attention_max_distance", "rotary_dim",
    "rotary_interleave", "rotary_base", "with_source_bos", "with_source_eos", "with_target_bos",
    "user_decoder_start_tokens",
))  # fmt: skip
# What the engine has not, with the value at which it changes nothing; None: always without effect,
# where the others are.
_WITHOUT_EFFECT: dict[str, float | None] = {
    "embeddings_merge": None,
    "alibi": 0,
    "alibi_use_positive_positions": None,
    "scale_alibi": None,
    "multi_query": 0,
    "multi_query_attention": 0,
    "sliding_window": 0,
    "final_logit_softcapping": 0,
    "layer_scalar": 1,
    "layer_norm_use_residual": 0,
    "rotary_scaling_type": -1,
    "rotary_scaling_factor": 1,
    "max_position_embeddings": 0,
    "original_max_position_embeddings": 0,
}
# Parts of layers that the engine has not, and what they are.
_UNKNOWN_PARTS = {
    r"/layer_\d+/shared_layer_norm/": "attention and feed-forward side by side",
    r"/layer_\d+/(input|pre_feedforward|external_.*)_layer_norm/": "norms on both sides of a layer",
    r"/(q|k|v)_norm/": "norms of queries, keys or values",
    r"/memory_kv/": "attention that sees source and target at once",
    r"/relative_asymmetric_position_keys$": "asymmetric relative positions",
    r"/project_(in|out)/": "embeddings of another width than the layers",
    r"^encoder/embeddings_[1-9]\d*/": "several features for each source token",
    r"/weight_zero$": "AWQ quantisation",
}


class Attributes:
    """Attributes by name, checked for their type; those of older revisions under today's names."""

    def __init__(self, file: Ctranslate2File) -> None:
        self._path = file.path
        self._values = dict(file.attributes)
        if file.revision < _FIRST_REVISION_WITH_HEADS and file.spec_name in _HEADS:
            self._values["num_heads"] = _HEADS[file.spec_name]
        if file.revision < _FIRST_REVISION_WITH_SIDES:
            for side in _SIDES:
                for name in tuple(self._values):
                    if "/" not in name:
                        self._values.setdefault(f"{side}/{name}", self._values[name])

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """An integer within bounds; raises CheckpointError if it is none, or beyond them."""
        value = self._values.get(name, default)
        if not math.isfinite(value) or value != int(value):
            raise CheckpointError(f"{self._path}: {name} is {value}, expected an integer")
        if not minimum <= value <= maximum:
            raise CheckpointError(
                f"{self._path}: {name} is {value}, expected {minimum} to {maximum}"
            )
        return int(value)

    def number(self, name: str, default: float) -> float:
        """A finite number; raises CheckpointError if it is none."""
        value = self._values.get(name, default)
        if not math.isfinite(value):
            raise CheckpointError(f"{self._path}: {name} is {value}, expected a finite number")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """A switch, which is stored as 0 or 1."""
        return bool(self.integer(name, int(default), 0, 1))

    def embedding_scale(self, side: str, d_model: int) -> float:
        """What embeddings are multiplied with: a number, or a switch for sqrt(d_model)."""
        names = (f"{side}/scale_embeddings", f"{side}/embeddings/multiply_by_sqrt_depth")
        stored = next((name for name in names if name in self), None)
        if stored is None:
            return math.sqrt(d_model)
        if isinstance(self._values[stored], float):
            return self.number(stored, 1.0)
        return math.sqrt(d_model) if self.flag(stored, default=True) else 1.0


def refuse_unknown(file: Ctranslate2File) -> None:
    """Raises UnsupportedModelError that lists all that the engine does not compute."""
    faults = []
    for pattern, meaning in _UNKNOWN_PARTS.items():
        found = [name for name in file.shapes if re.search(pattern, name)]
        if found:
            faults.append(f"{found[0]}: {meaning}")
    for name, value in file.attributes.items():
        last = name.rpartition("/")[2]
        if last in _READ:
            continue
        if last not in _WITHOUT_EFFECT:
            faults.append(f"{name} = {value}: an unknown attribute")
        elif _WITHOUT_EFFECT[last] is not None and value != _WITHOUT_EFFECT[last]:
            faults.append(f"{name} = {value}")
    if faults:
        listing = "\n  ".join(sorted(faults)[:20])
        raise UnsupportedModelError(f"{file.path}: not supported:\n  {listing}")
