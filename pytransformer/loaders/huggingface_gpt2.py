"""GPT-2 as Hugging Face stores it: a decoder alone, which goes on with a text.

Names and arithmetic are those of transformers' modeling_gpt2. Its linear layers are stored as
[inputs, outputs].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, model_type, open_weights
from pytransformer.loaders.huggingface_activations import read_activation
from pytransformer.loaders.huggingface_embeddings import Embeddings, Tying, same_values
from pytransformer.loaders.huggingface_generation import (
    DEFAULT_MAX_DECODING_LENGTH,
    read_generation,
    read_settings,
)
from pytransformer.loaders.huggingface_seq2seq_tokenizer import read_tokenizer
from pytransformer.loaders.tensor_plan import Planned, Shape, bind
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    NO_STACK,
    Checkpoint,
    GenerationSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
)

DESCRIPTION = "a Hugging Face GPT-2 directory (config.json with model_type 'gpt2')"

_OTHER_HEADS = {
    "GPT2ForSequenceClassification": "classifies texts",
    "GPT2ForTokenClassification": "classifies single tokens",
    "GPT2ForQuestionAnswering": "marks answers in a text",
    "GPT2DoubleHeadsModel": "chooses among several texts",
}
_EMBEDDING = "wte.weight"
_OUTPUT = "lm_head.weight"
_LINEARS = {
    "self_attention.output": "attn.c_proj",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}
_NORMS = {"self_attention.norm": "ln_1", "feed_forward.norm": "ln_2"}
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_MAX_POSITIONS = 2**16  # the engine's limit


def recognises(path: Path) -> bool:
    """Whether there is a config.json here that names GPT-2 as its model_type."""
    return model_type(path) == "gpt2"


def load(path: Path) -> Checkpoint:
    """Reads the directory; see :func:`pytransformer.loaders.load`."""
    return build(path, Settings.read(path / "config.json"), open_weights(path))


def build(directory: Path, config: Settings, source: TensorSource) -> Checkpoint:
    """The checkpoint with these settings and weights, and the other files of a directory."""
    config = config.with_defaults({"bos_token_id": 50256, "eos_token_id": 50256})
    parts = _Parts(config, source)
    tensors = bind(directory, source, dict(parts.plan()), parts.also_allowed())
    size = parts.model.decoder.vocab_size
    tokenizer, files = read_tokenizer(directory, config, size, size)
    generation = _read_generation(directory, config, parts.model.decoder)
    return Checkpoint("gpt2", parts.model, generation, tokenizer, tensors, files)


def _read_generation(directory: Path, config: Settings, decoder: StackSpec) -> GenerationSpec:
    """Hugging Face's lengths count the prompt, ours only what is generated."""
    positions = decoder.positions.max_length
    generation = read_generation(directory, config, decoder.vocab_size, positions)
    settings = read_settings(directory, config)
    length = settings.integer("max_new_tokens", DEFAULT_MAX_DECODING_LENGTH, minimum=1)
    return replace(
        generation,
        max_decoding_length=min(length, max(1, positions - 1)),
        min_decoding_length=settings.integer("min_new_tokens", 0),
    )


class _Parts:
    """The architecture of one checkpoint, and its tensors."""

    def __init__(self, config: Settings, source: TensorSource) -> None:
        _refuse_unsupported(config)
        self._config = config
        self._source = source
        self._prefix = "transformer." if f"transformer.{_EMBEDDING}" in source.shapes else ""
        embedding = self._prefix + _EMBEDDING
        tied = config.flag("tie_word_embeddings", True)
        names = Embeddings(embedding, embedding, _OUTPUT, embedding)
        self._chosen = names.resolve(source, Tying(False, tied_output=tied))
        self.model = ModelSpec(
            encoder=NO_STACK,
            decoder=_read_stack(config),
            shared_embedding=False,
            tied_output=same_values(source, self._chosen.output, self._chosen.decoder),
            architecture="decoder",
        )

    def plan(self) -> Iterator[tuple[str, Planned]]:
        """Where every tensor of the model comes from, by canonical name."""
        decoder, prefix = self.model.decoder, self._prefix
        d_model = decoder.d_model
        matrix = decoder.vocab_size, d_model
        yield "decoder.embedding.weight", Planned(self._chosen.decoder, matrix)
        table = decoder.positions.max_length, d_model
        yield "decoder.positions.weight", Planned(f"{prefix}wpe.weight", table)
        for layer in range(decoder.num_layers):
            for name, planned in self._layer(decoder, layer):
                yield f"decoder.layers.{layer}.{name}", planned
        for part in ("weight", "bias"):
            yield f"decoder.norm.{part}", Planned(f"{prefix}ln_f.{part}", (d_model,))
        if not self.model.tied_output:
            yield "output.weight", Planned(self._chosen.output, matrix)

    def also_allowed(self) -> dict[str, Shape]:
        """A copy of the embedding as the output, and masks that are no weights."""
        decoder = self.model.decoder
        length = decoder.positions.max_length
        allowed: dict[str, Shape] = {_OUTPUT: (decoder.vocab_size, decoder.d_model)}
        for layer in range(decoder.num_layers):
            attention = f"{self._prefix}h.{layer}.attn."
            allowed[f"{attention}bias"] = (1, 1, length, length)
            allowed[f"{attention}masked_bias"] = ()
        return allowed

    def _layer(self, decoder: StackSpec, layer: int) -> Iterator[tuple[str, Planned]]:
        prefix = f"{self._prefix}h.{layer}."
        d_model, d_ff = decoder.d_model, decoder.d_ff
        by_layer = self._config.flag("scale_attn_by_inverse_layer_idx", False)
        for i, name in enumerate(("query", "key", "value")):
            scale = 1.0 / (layer + 1) if by_layer and name == "query" else 1.0
            part = partial(_columns, i * d_model, d_model, scale)
            for kind, shape in (("weight", (d_model, 3 * d_model)), ("bias", (3 * d_model,))):
                stored = f"{prefix}attn.c_attn.{kind}"
                yield f"self_attention.{name}.{kind}", Planned(stored, shape, part)
        shapes = {
            "self_attention.output": (d_model, d_model),
            "feed_forward.up": (d_model, d_ff),
            "feed_forward.down": (d_ff, d_model),
        }
        for name, stored in _LINEARS.items():
            shape = shapes[name]
            yield f"{name}.weight", Planned(f"{prefix}{stored}.weight", shape, np.transpose)
            yield f"{name}.bias", Planned(f"{prefix}{stored}.bias", shape[1:])
        for name, stored in _NORMS.items():
            for part_of in ("weight", "bias"):
                yield f"{name}.{part_of}", Planned(f"{prefix}{stored}.{part_of}", (d_model,))


def _refuse_unsupported(config: Settings) -> None:
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    if name in _OTHER_HEADS:
        raise UnsupportedModelError(
            f"{config.path}: {name}, which {_OTHER_HEADS[name]}, is not supported; GPT2LMHeadModel "
            "is"
        )
    if config.flag("add_cross_attention", False):
        raise UnsupportedModelError(f"{config.path}: add_cross_attention = true is not supported")


def _read_stack(config: Settings) -> StackSpec:
    d_model = config.integer("n_embd", 768, minimum=1)
    num_heads = config.integer("n_head", 12, minimum=1)
    if d_model % num_heads:
        raise CheckpointError(
            f"{config.path}: n_embd {d_model} is not divisible by {num_heads} heads"
        )
    head_dim = d_model // num_heads
    return StackSpec(
        num_layers=config.integer("n_layer", 12, maximum=_MAX_LAYERS),
        d_model=d_model,
        num_heads=num_heads,
        head_dim=head_dim,
        d_ff=config.integer("n_inner", 4 * d_model, minimum=1),
        vocab_size=config.integer("vocab_size", 50257, minimum=1),
        activation=read_activation(config, "activation_function", "gelu_new"),
        norm_position="pre",
        final_norm=True,
        embedding_norm=False,
        embedding_scale=1.0,
        attention_scale=head_dim**-0.5 if config.flag("scale_attn_weights", True) else 1.0,
        norm_epsilon=config.number("layer_norm_epsilon", 1e-5),
        positions=PositionSpec("learned", config.integer("n_positions", 1024, 2, _MAX_POSITIONS)),
    )


def _columns(first: int, count: int, scale: float, values: FloatArray) -> FloatArray:
    """Columns of a stored weight [inputs, outputs], as a weight [outputs, inputs]; or of a bias."""
    part: FloatArray = np.ascontiguousarray(values[..., first : first + count].T)
    return part if scale == 1.0 else part * np.float32(scale)
