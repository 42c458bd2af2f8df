"""The architecture of a Transformer written in PyTorch, from its description and its tensors."""

from __future__ import annotations

import math

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_embeddings import same_values
from pytransformer.loaders.pytorch_records import choice, positive
from pytransformer.loaders.state_dict_names import ARCHITECTURES, SIDES, layer_count, width_of
from pytransformer.loaders.tensor_plan import Planned, Shape
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    Activation,
    ModelSpec,
    PositionKind,
    PositionSpec,
    StackSpec,
)

_ACTIVATIONS: dict[str, Activation] = {
    name: name for name in ("relu", "gelu", "gelu_tanh", "silu", "tanh")
}
_COMPUTED: dict[str, PositionKind] = {
    name: name for name in ("sinusoidal_interleaved", "sinusoidal", "none")
}
_MAX_POSITIONS = 2**16  # the engine's limit
# A table that was computed in float32 differs by that much at its end.
_POSITION_TOLERANCE = 1e-3


class StateDictModel:
    """The architecture `spec` that a description and the tensors tell, and the plan of those."""

    def __init__(self, config: Settings, source: TensorSource) -> None:
        self._config = config
        self._source = source
        self.architecture = config.text("architecture", "")
        self._kind = choice(config, "architecture", "", ARCHITECTURES)
        self._names = names = self._kind.find(config, source)
        for key in ("num_encoder_layers", "num_decoder_layers", "d_model", "dim_feedforward"):
            config.integer(key, 1)  # must be numbers even where nothing compares them
        encoder, decoder = (self._stack(i) for i in range(2))
        self.spec = ModelSpec(
            encoder=encoder,
            decoder=decoder,
            shared_embedding=same_values(source, *names.embeddings),
            tied_output=same_values(source, names.embeddings[1], names.output),
        )

    def plan(self) -> tuple[dict[str, Planned], dict[str, Shape]]:
        """Where every tensor comes from, and which may be stored besides."""
        names, spec = self._names, self.spec
        plan: dict[str, Planned] = {}
        allowed = self._unused()
        for i, stack in enumerate((spec.encoder, spec.decoder)):
            side = SIDES[i]
            canonical = "shared" if spec.shared_embedding else side
            shape = (stack.vocab_size, stack.d_model)
            plan[f"{canonical}.embedding.weight"] = Planned(names.embeddings[i], shape)
            allowed[names.embeddings[i]] = shape
            plan.update(names.stacks[i].plan(side, stack, spec.encoder.d_model))
            table = names.positions[i]
            if table is not None and stack.positions.kind == "learned":
                stored = self._source.shapes[table]
                plan[f"{side}.positions.weight"] = Planned(table, stored, _as_table)
            elif table is not None:
                allowed[table] = self._source.shapes[table]
        shape = (spec.decoder.vocab_size, spec.decoder.d_model)
        allowed[names.output] = shape
        if not spec.tied_output:
            plan["output.weight"] = Planned(names.output, shape)
        bias = names.output.removesuffix("weight") + "bias"
        if bias in self._source.shapes:
            plan["output.bias"] = Planned(bias, shape[:1])
        return plan, allowed

    def _unused(self) -> dict[str, Shape]:
        names = self._config.get("unused") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._config.error("unused", "a list of names")
        return {name: self._source.shapes[name] for name in names if name in self._source.shapes}

    def _stack(self, i: int) -> StackSpec:
        config, side, names = self._config, SIDES[i], self._names.stacks[i]
        shape = self._source.shapes.get(self._names.embeddings[i], ())
        d_model = self._compared("d_model", width_of(shape))
        if d_model == 0:
            raise CheckpointError(f"{config.path}: {self._names.embeddings[i]} is no matrix")
        heads = config.integer("nhead", 0, maximum=2**15)
        heads = config.integer(f"{side}_heads", heads, minimum=1, maximum=2**15)
        if d_model % heads:
            raise CheckpointError(f"{config.path}: {heads} heads cannot share {d_model} columns")
        up = names.layer.format(0) + names.linears["feed_forward.up"].name + names.weight
        is_pre_norm = self._kind.is_pre_norm
        if is_pre_norm is None:
            is_pre_norm = config.flag("norm_first", False)
        elif config.get("norm_first") not in (None, is_pre_norm):
            raise config.error("norm_first", f"{str(is_pre_norm).lower()} for {self.architecture}")
        return StackSpec(
            num_layers=self._compared(f"num_{side}_layers", layer_count(self._source, names)),
            d_model=d_model,
            num_heads=heads,
            head_dim=d_model // heads,
            d_ff=self._compared("dim_feedforward", max((1, *self._source.shapes.get(up, ())[:1]))),
            vocab_size=shape[0],
            activation=choice(config, "activation", "relu", _ACTIVATIONS),
            norm_position="pre" if is_pre_norm else "post",
            final_norm="norm" in names.norms,
            embedding_norm=False,
            embedding_scale=config.number("embedding_scale", d_model**0.5),
            attention_scale=(d_model // heads) ** -0.5,
            norm_epsilon=positive(config, "layer_norm_eps", self._kind.norm_epsilon),
            positions=self._positions(self._names.positions[i], d_model),
            norm=self._kind.norm,
        )

    def _compared(self, key: str, found: int) -> int:
        """A size that the tensors tell; the description must not contradict it."""
        if self._config.integer(key, found) != found:
            raise CheckpointError(
                f"{self._config.path}: {key} is {self._config.get(key)}, but the weights have "
                f"{found}"
            )
        return found

    def _positions(self, table: str | None, d_model: int) -> PositionSpec:
        """Stored positions as they are; but those of the paper, if not rounded, are computed."""
        config = self._config
        if table is None:
            kind = choice(config, "positions", "", _COMPUTED)
            return PositionSpec(kind, config.integer("max_length", 5000, 2, _MAX_POSITIONS))
        shape = self._source.shapes.get(table)
        rows = 0 if shape is None else math.prod(shape) // d_model
        if shape is None or shape[-1:] != (d_model,) or rows < 2 or max(shape[:-1]) != rows:
            raise CheckpointError(f"{config.path}: {table} is {shape}, no table of positions")
        for key in ("positions", "max_length"):
            if config.get(key) is not None:
                raise CheckpointError(
                    f"{config.path}: {key} is given, but {table} holds {rows} positions"
                )
        if self._source.dtype(table) in ("F32", "F64") and self._is_sinusoids(table):
            return PositionSpec("sinusoidal_interleaved", min(rows, _MAX_POSITIONS))
        if rows > _MAX_POSITIONS:
            raise UnsupportedModelError(
                f"{config.path}: {table} has {rows} rows, supported are {_MAX_POSITIONS}"
            )
        return PositionSpec("learned", rows)

    def _is_sinusoids(self, name: str) -> bool:
        table = _as_table(self._source.read(name))
        difference = np.abs(table - _sinusoids(*table.shape))
        return bool(difference.max() <= _POSITION_TOLERANCE)


def _as_table(values: FloatArray) -> FloatArray:
    return values.reshape(-1, values.shape[-1])


def _sinusoids(rows: int, d_model: int) -> FloatArray:
    """The positions [rows, d_model] of the paper, sines and cosines in turn."""
    angles = np.arange(rows)[:, None] / 10000.0 ** (np.arange(0, d_model, 2) / d_model)
    table = np.empty((rows, d_model), np.float32)
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles[:, : d_model // 2])
    return table
