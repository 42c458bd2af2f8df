"""BERT as Hugging Face stores it: the encoder, with its pooler and a classifier if it has them.

Names and arithmetic are those of transformers' modeling_bert. The heads of pretraining (`cls.`) may
be stored as well; they are not used, as by BertModel.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.combined_tensors import Combined, combine
from pytransformer.loaders.huggingface import Settings, model_type, open_weights
from pytransformer.loaders.huggingface_activations import read_activation
from pytransformer.loaders.huggingface_heads import plan_head, read_head
from pytransformer.loaders.huggingface_seq2seq_tokenizer import read_tokenizer
from pytransformer.loaders.stack_plan import StackNames, Stored
from pytransformer.loaders.tensor_plan import Planned, Shape, bind
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    NO_GENERATION,
    NO_STACK,
    Checkpoint,
    ModelSpec,
    PositionSpec,
    StackSpec,
)

DESCRIPTION = "a Hugging Face BERT directory (config.json with model_type 'bert')"

_CLASSIFIER = "BertForSequenceClassification"
# Classes whose answer is not the encoder's alone.
_OTHER_HEADS = {
    "BertForTokenClassification": "classifies single tokens",
    "BertForQuestionAnswering": "marks answers in a text",
    "BertForMultipleChoice": "chooses among several texts",
}
_LINEARS = {
    "self_attention.query": "attention.self.query.",
    "self_attention.key": "attention.self.key.",
    "self_attention.value": "attention.self.value.",
    "self_attention.output": "attention.output.dense.",
    "feed_forward.up": "intermediate.dense.",
    "feed_forward.down": "output.dense.",
}
_NORMS = {
    "self_attention.norm": "attention.output.LayerNorm.",
    "feed_forward.norm": "output.LayerNorm.",
}
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_MAX_POSITIONS = 2**16  # the engine's limits
_MAX_TYPES = 256


def recognises(path: Path) -> bool:
    """Whether there is a config.json here that names BERT as its model_type."""
    return model_type(path) == "bert"


def load(path: Path) -> Checkpoint:
    """Reads the directory; see :func:`pytransformer.loaders.load`."""
    return build(path, Settings.read(path / "config.json"), open_weights(path))


def build(directory: Path, config: Settings, source: TensorSource) -> Checkpoint:
    """The checkpoint with these settings and weights, and the other files of a directory."""
    parts = _Parts(config, source)
    tensors = bind(directory, source, dict(parts.plan()), parts.also_allowed())
    size = parts.model.encoder.vocab_size
    tokenizer, files = read_tokenizer(directory, config, size, size)
    positions = {"encoder.positions.weight": Combined(("positions", "types"), _table)}
    tensors = combine(tensors, positions)
    return Checkpoint("bert", parts.model, NO_GENERATION, tokenizer, tensors, files)


class _Parts:
    """The architecture of one checkpoint, and its tensors."""

    def __init__(self, config: Settings, source: TensorSource) -> None:
        _refuse_unsupported(config)
        self._config = config
        self._prefix = "bert." if any(n.startswith("bert.") for n in source.shapes) else ""
        # As the first checkpoints call them.
        self._has_old_names = any(name.endswith("LayerNorm.gamma") for name in source.shapes)
        pooler = f"{self._prefix}pooler.dense.weight" in source.shapes
        encoder = _read_stack(config)
        self.model = ModelSpec(
            encoder=encoder,
            decoder=NO_STACK,
            shared_embedding=False,
            tied_output=False,
            architecture="encoder",
            head=read_head(
                config,
                pooler_size=encoder.d_model if pooler else 0,
                pooler_activation="tanh",
                classifies=self._classifies(pooler, "classifier.weight" in source.shapes),
            ),
        )

    def plan(self) -> Iterator[tuple[str, Planned]]:
        """Where every tensor of the model comes from, by canonical name."""
        encoder, prefix = self.model.encoder, self._prefix
        embeddings = f"{prefix}embeddings."
        tables = {
            "encoder.embedding.weight": ("word_embeddings", encoder.vocab_size),
            "positions": ("position_embeddings", encoder.positions.max_length),
            "types": ("token_type_embeddings", encoder.positions.segments),
        }
        for name, (stored, rows) in tables.items():
            yield name, Planned(f"{embeddings}{stored}.weight", (rows, encoder.d_model))
        names = StackNames(
            layer=f"{prefix}encoder.layer.{{}}.",
            linears={name: Stored(stored) for name, stored in _LINEARS.items()},
            norms={"embedding.norm": f"{embeddings}LayerNorm.", **_NORMS},
            norm_weight="gamma" if self._has_old_names else "weight",
            norm_bias="beta" if self._has_old_names else "bias",
        )
        yield from names.plan("encoder", encoder, encoder.d_model)
        pooler = f"{prefix}pooler.dense"
        yield from plan_head(self.model.head, encoder.d_model, pooler, "classifier")

    def also_allowed(self) -> dict[str, Shape]:
        """Tensors that may be stored as well: numbers of positions, and heads of pretraining."""
        encoder = self.model.encoder
        d_model, vocabulary = encoder.d_model, (encoder.vocab_size,)
        embeddings = f"{self._prefix}embeddings."
        allowed: dict[str, Shape] = {
            f"{embeddings}{name}": (1, encoder.positions.max_length)
            for name in ("position_ids", "token_type_ids")
        }
        predictions = "cls.predictions."
        allowed |= {
            f"{predictions}bias": vocabulary,
            f"{predictions}decoder.weight": (*vocabulary, d_model),
            f"{predictions}decoder.bias": vocabulary,
            f"{predictions}transform.dense.weight": (d_model, d_model),
            f"{predictions}transform.dense.bias": (d_model,),
            "cls.seq_relationship.weight": (2, d_model),
            "cls.seq_relationship.bias": (2,),
        }
        for part in ("weight", "bias", "gamma", "beta"):
            allowed[f"{predictions}transform.LayerNorm.{part}"] = (d_model,)
        return allowed

    def _classifies(self, has_pooler: bool, has_classifier: bool) -> bool:
        """Whether the classifier is one of whole texts; where nothing says so, a pooler does."""
        names = self._config.get("architectures")
        if names:
            return isinstance(names, list) and names[0] == _CLASSIFIER
        return has_pooler and has_classifier


def _refuse_unsupported(config: Settings) -> None:
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    if name in _OTHER_HEADS:
        raise UnsupportedModelError(
            f"{config.path}: {name}, which {_OTHER_HEADS[name]}, is not supported; BertModel and "
            f"{_CLASSIFIER} are"
        )
    kind = config.text("position_embedding_type", "absolute")
    if kind != "absolute":
        raise UnsupportedModelError(
            f"{config.path}: position_embedding_type {kind!r} is not supported, only 'absolute'"
        )
    for flag in ("is_decoder", "add_cross_attention"):
        if config.flag(flag, False):
            raise UnsupportedModelError(f"{config.path}: {flag} = true is not supported")


def _read_stack(config: Settings) -> StackSpec:
    d_model = config.integer("hidden_size", 768, minimum=1)
    num_heads = config.integer("num_attention_heads", 12, minimum=1)
    if d_model % num_heads:
        raise CheckpointError(
            f"{config.path}: hidden_size {d_model} is not divisible by {num_heads} heads"
        )
    max_length = config.integer("max_position_embeddings", 512, 1, _MAX_POSITIONS)
    types = config.integer("type_vocab_size", 2, 1, _MAX_TYPES)
    return StackSpec(
        num_layers=config.integer("num_hidden_layers", 12, maximum=_MAX_LAYERS),
        d_model=d_model,
        num_heads=num_heads,
        head_dim=d_model // num_heads,
        d_ff=config.integer("intermediate_size", 3072, minimum=1),
        vocab_size=config.integer("vocab_size", 30522, minimum=1),
        activation=read_activation(config, "hidden_act", "gelu"),
        norm_position="post",
        final_norm=False,
        embedding_norm=True,
        embedding_scale=1.0,
        attention_scale=(d_model // num_heads) ** -0.5,
        norm_epsilon=config.number("layer_norm_eps", 1e-12),
        positions=PositionSpec("learned", max_length, segments=types),
    )


def _table(positions: FloatArray, types: FloatArray) -> FloatArray:
    """The rows of all positions [positions, d_model] for each of the types [types, d_model]."""
    rows: FloatArray = (types[:, None] + positions).reshape(-1, positions.shape[1])
    return np.ascontiguousarray(rows)
