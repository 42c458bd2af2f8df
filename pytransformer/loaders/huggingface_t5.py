"""T5 and its relatives as Hugging Face stores them: T5 1.1, Flan-T5, mT5, umT5, MADLAD-400, ByT5.

Names and arithmetic are those of transformers' modeling_t5, modeling_mt5 and modeling_umt5: norms
by the root of the mean square in front of every sublayer and behind each stack, no biases, scores
that are not scaled, and biases that depend on the distance of query and key instead of positions.

Which matrix is the output does not say whether its inputs are scaled by d_model^-0.5. T5 scales
them if `tie_word_embeddings` is true, or `scale_decoder_outputs`, which transformers 5 writes
beside it since it sets the former to true whatever it was; umT5 goes by `tie_word_embeddings` alone
and mT5 never scales.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pytransformer.errors import UnsupportedModelError
from pytransformer.loaders.distance_buckets import exact_buckets, spread_buckets
from pytransformer.loaders.huggingface import Settings, model_type, open_weights
from pytransformer.loaders.huggingface_activations import read_activation
from pytransformer.loaders.huggingface_embeddings import Embeddings, Tying, same_values
from pytransformer.loaders.huggingface_generation import read_generation
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer
from pytransformer.loaders.tensor_plan import Planned, Shape, bind
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    Activation,
    Checkpoint,
    DistanceSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
)

DESCRIPTION = (
    "a Hugging Face T5 directory (config.json with model_type 't5', 'mt5' or 'umt5': T5, Flan-T5, "
    "mT5, umT5, MADLAD-400, ByT5)"
)

_COMMON: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1}
_MULTILINGUAL: dict[str, Any] = {
    **_COMMON,
    "vocab_size": 250112,
    "d_ff": 1024,
    "num_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
}
# What configurations mean where they say nothing, by model_type, if not what T5's mean.
_DEFAULTS = {"t5": _COMMON, "mt5": _MULTILINGUAL, "umt5": _MULTILINGUAL}
_EMBEDDINGS = Embeddings(
    encoder="encoder.embed_tokens.weight",
    decoder="decoder.embed_tokens.weight",
    output="lm_head.weight",
    shared="shared.weight",
)
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "output": "o"}
_BIAS = "block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
# The first T5 checkpoints hold it, and nothing has ever used it.
_UNUSED_BIAS = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_MAX_DISTANCE = 2**16  # the engine's limit
_MAX_BIASES = 2**22  # of a stack, all distances spread out; the largest T5 has a fifth
_ENDLESS = 2**24  # tokens that have a position, where there are none


def recognises(path: Path) -> bool:
    """Whether there is a config.json here that names a model of this family."""
    return model_type(path) in _DEFAULTS


def load(path: Path) -> Checkpoint:
    """Reads the directory; see :func:`pytransformer.loaders.load`."""
    return build(path, Settings.read(path / "config.json"), open_weights(path))


def build(directory: Path, config: Settings, source: TensorSource) -> Checkpoint:
    """The checkpoint with these settings and weights, and the other files of a directory."""
    family = config.text("model_type", "t5")
    given = {key: value for key, value in config.values.items() if value is not None}
    config = Settings(given, config.path).with_defaults(_DEFAULTS[family])
    config = config.with_defaults({"decoder_start_token_id": config.get("pad_token_id")})
    if not config.flag("is_encoder_decoder", True):
        raise UnsupportedModelError(f"{config.path}: only T5's encoder and decoder together")
    parts = _Parts(family, config, source)
    tensors = bind(directory, source, dict(parts.plan()), parts.also_allowed())
    vocab_size = parts.model.decoder.vocab_size
    tokenizer, files = read_tokenizer(directory, config, vocab_size)
    return Checkpoint(
        family=family,
        model=parts.model,
        generation=read_generation(directory, config, vocab_size, _ENDLESS),
        tokenizer=tokenizer,
        tensors=tensors,
        files=files,
    )


class _Parts:
    """The architecture of one checkpoint, and its tensors."""

    def __init__(self, family: str, config: Settings, source: TensorSource) -> None:
        self._config = config
        self._bias_in_each_layer = family == "umt5"
        self._buckets, self._max_distance = _read_buckets(config)
        tied = config.flag("tie_word_embeddings", True)
        scales = {"t5": config.flag("scale_decoder_outputs", tied), "mt5": False, "umt5": tied}
        self._output_scale = (
            config.integer("d_model", 512, minimum=1) ** -0.5 if scales[family] else 1.0
        )
        self._chosen = chosen = _EMBEDDINGS.resolve(source, Tying(True, tied))
        num_layers = config.integer("num_layers", 6, maximum=_MAX_LAYERS)
        self.model = ModelSpec(
            encoder=self._stack(num_layers),
            decoder=self._stack(
                config.integer("num_decoder_layers", num_layers, maximum=_MAX_LAYERS)
            ),
            shared_embedding=same_values(source, chosen.encoder, chosen.decoder),
            tied_output=same_values(source, chosen.output, chosen.decoder),
        )

    def plan(self) -> Iterator[tuple[str, Planned]]:
        """Where every tensor of the model comes from, by canonical name."""
        model, chosen = self.model, self._chosen
        for side, stack, embedding in (
            ("encoder", model.encoder, chosen.encoder),
            ("decoder", model.decoder, chosen.decoder),
        ):
            canonical = "shared" if model.shared_embedding else side
            shape = (stack.vocab_size, stack.d_model)
            yield f"{canonical}.embedding.weight", Planned(embedding, shape)
            for layer in range(stack.num_layers):
                for name, planned in self._layer(side, stack, layer):
                    yield f"{side}.layers.{layer}.{name}", planned
            scaled = self._scaled if side == "decoder" else None
            norm = Planned(f"{side}.final_layer_norm.weight", (stack.d_model,), scaled)
            yield f"{side}.norm.weight", norm
        if not model.tied_output:
            shape = (model.decoder.vocab_size, model.decoder.d_model)
            yield "output.weight", Planned(chosen.output, shape)

    def also_allowed(self) -> dict[str, Shape]:
        """Tensors that may be stored as well: copies of tied ones, and one without a use."""
        stack = self.model.encoder
        shape = (stack.vocab_size, stack.d_model)
        names = _EMBEDDINGS
        copies = (names.encoder, names.decoder, names.output, names.shared)
        return {**dict.fromkeys(copies, shape), _UNUSED_BIAS: (self._buckets, stack.num_heads)}

    def _scaled(self, weight: FloatArray) -> FloatArray:
        """The decoder's last norm, which takes over the scale of the output's inputs."""
        return np.multiply(weight, self._output_scale, dtype=np.float32)

    def _stack(self, num_layers: int) -> StackSpec:
        config = self._config
        activation, gated = _read_activation(config)
        num_heads = config.integer("num_heads", 8, minimum=1)
        columns = 2 * self._max_distance + 1
        if num_layers * num_heads * columns > _MAX_BIASES:
            raise UnsupportedModelError(
                f"{config.path}: {num_layers} layers with {num_heads} heads that tell apart "
                f"{columns} distances are more than the {_MAX_BIASES} biases that are supported"
            )
        return StackSpec(
            num_layers=num_layers,
            d_model=config.integer("d_model", 512, minimum=1),
            num_heads=num_heads,
            head_dim=config.integer("d_kv", 64, minimum=1),
            d_ff=config.integer("d_ff", 2048, minimum=1),
            vocab_size=config.integer("vocab_size", 32128, minimum=1),
            activation=activation,
            norm_position="pre",
            final_norm=True,
            embedding_norm=False,
            embedding_scale=1.0,
            attention_scale=1.0,
            norm_epsilon=config.number("layer_norm_epsilon", 1e-6),
            positions=PositionSpec("none", 1),
            norm="rms",
            gated=gated,
            distances=DistanceSpec("bias", self._max_distance),
        )

    def _layer(self, side: str, stack: StackSpec, layer: int) -> Iterator[tuple[str, Planned]]:
        """The tensors of one layer, by canonical name without the layer's."""
        block = f"{side}.block.{layer}.layer"
        sublayers = {"self_attention": f"{block}.0"}
        yield "self_attention.distances.bias", self._distances(side, stack, layer)
        if side == "decoder":
            sublayers["cross_attention"] = f"{block}.1"
        width, d_model = stack.num_heads * stack.head_dim, stack.d_model
        for name, stored in sublayers.items():
            attention = "SelfAttention" if name == "self_attention" else "EncDecAttention"
            for ours, theirs in _PROJECTIONS.items():
                shape = (d_model, width) if ours == "output" else (width, d_model)
                yield (
                    f"{name}.{ours}.weight",
                    Planned(f"{stored}.{attention}.{theirs}.weight", shape),
                )
        sublayers["feed_forward"] = f"{block}.{len(sublayers)}"
        for name, stored in _feed_forward(stack.gated).items():
            shape = (d_model, stack.d_ff) if name == "down" else (stack.d_ff, d_model)
            path = f"{sublayers['feed_forward']}.DenseReluDense.{stored}.weight"
            yield f"feed_forward.{name}.weight", Planned(path, shape)
        for name, stored in sublayers.items():
            yield f"{name}.norm.weight", Planned(f"{stored}.layer_norm.weight", (d_model,))

    def _distances(self, side: str, stack: StackSpec, layer: int) -> Planned:
        """The biases [num_heads, 2 * max_distance + 1], which most models share in all layers."""
        spread = functools.partial(
            spread_buckets, max_distance=self._max_distance, both_ways=side == "encoder"
        )
        stored = f"{side}.{_BIAS.format(layer if self._bias_in_each_layer else 0)}"
        return Planned(stored, (self._buckets, stack.num_heads), spread)


def _read_buckets(config: Settings) -> tuple[int, int]:
    """The number of buckets, and from which distance on all are in the last one."""
    buckets = config.integer("relative_attention_num_buckets", 32, minimum=4, maximum=2**16)
    key = "relative_attention_max_distance"
    least = exact_buckets(buckets, both_ways=False) + 1
    return buckets, config.integer(key, 128, minimum=least, maximum=_MAX_DISTANCE)


def _feed_forward(gated: bool) -> dict[str, str]:
    first = {"gate": "wi_0", "up": "wi_1"} if gated else {"up": "wi"}
    return {**first, "down": "wo"}


def _read_activation(config: Settings) -> tuple[Activation, bool]:
    """The activation function, and whether it gates; both may also be set by names of their own."""
    projection = config.text("feed_forward_proj", "relu")
    first, *rest = projection.split("-")
    if len(rest) > 1 or (rest and first != "gated"):
        raise config.error("feed_forward_proj", "an activation like 'relu', or 'gated-gelu'")
    name = "gelu_new" if projection == "gated-gelu" else projection.removeprefix("gated-")
    gated = config.flag("is_gated_act", first == "gated")
    return read_activation(config, "dense_act_fn", name), gated
