"""ViT as Hugging Face stores it: an encoder of pictures, with its pooler or classifier if any.

Names and arithmetic are those of transformers' modeling_vit. A picture is cut into patches, each
read as a vector; what stands before the first patch is the class token, a vector of zeros here,
whose embedding is part of its position's, as the patches' bias is part of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.combined_tensors import Combined, combine
from pytransformer.loaders.huggingface import Settings, model_type, open_weights
from pytransformer.loaders.huggingface_activations import read_activation
from pytransformer.loaders.huggingface_heads import plan_head, read_head
from pytransformer.loaders.huggingface_pictures import read_pictures, read_size
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

DESCRIPTION = "a Hugging Face ViT directory (config.json with model_type 'vit')"

_CLASSIFIER = "ViTForImageClassification"
_OTHER_HEADS = {"ViTForMaskedImageModeling": "restores pictures"}
# In files, and in the memory of transformers 5.
_STORED = StackNames(
    layer="encoder.layer.{}.",
    linears={
        "self_attention.query": Stored("attention.attention.query."),
        "self_attention.key": Stored("attention.attention.key."),
        "self_attention.value": Stored("attention.attention.value."),
        "self_attention.output": Stored("attention.output.dense."),
        "feed_forward.up": Stored("intermediate.dense."),
        "feed_forward.down": Stored("output.dense."),
    },
    norms={
        "self_attention.norm": "layernorm_before.",
        "feed_forward.norm": "layernorm_after.",
    },
)
_IN_MEMORY = StackNames(
    layer="layers.{}.",
    linears={
        "self_attention.query": Stored("attention.q_proj."),
        "self_attention.key": Stored("attention.k_proj."),
        "self_attention.value": Stored("attention.v_proj."),
        "self_attention.output": Stored("attention.o_proj."),
        "feed_forward.up": Stored("mlp.fc1."),
        "feed_forward.down": Stored("mlp.fc2."),
    },
    norms=_STORED.norms,
)
_PROJECTIONS = ("self_attention.query", "self_attention.key", "self_attention.value")
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_MAX_PATCHES = 2**16 - 1  # with the class token, the engine's limit


def recognises(path: Path) -> bool:
    """Whether there is a config.json here that names ViT as its model_type."""
    return model_type(path) == "vit"


def load(path: Path) -> Checkpoint:
    """Reads the directory; see :func:`pytransformer.loaders.load`."""
    return build(path, Settings.read(path / "config.json"), open_weights(path))


def build(directory: Path, config: Settings, source: TensorSource) -> Checkpoint:
    """The checkpoint with these settings and weights, and the other files of a directory."""
    parts = _Parts(config, source)
    tensors = bind(directory, source, dict(parts.plan()), parts.also_allowed())
    rows = Combined(("class", "patch_bias", "positions"), _table)
    tensors = combine(tensors, {"encoder.positions.weight": rows})
    pictures = read_pictures(directory, parts.picture_size, parts.patch_size, parts.channels)
    return Checkpoint("vit", parts.model, NO_GENERATION, pictures, tensors, {})


class _Parts:
    """The architecture of one checkpoint, and its tensors."""

    def __init__(self, config: Settings, source: TensorSource) -> None:
        name = _architecture(config)
        if name in _OTHER_HEADS:
            raise UnsupportedModelError(
                f"{config.path}: {name}, which {_OTHER_HEADS[name]}, is not supported; ViTModel "
                f"and {_CLASSIFIER} are"
            )
        self._config = config
        self.picture_size = read_size(config, "image_size", 224)
        self.patch_size = read_size(config, "patch_size", 16)
        self.channels = config.integer("num_channels", 3, 1, 1024)
        self._prefix = "vit." if any(n.startswith("vit.") for n in source.shapes) else ""
        in_memory = f"{self._prefix}layers.0.layernorm_before.weight" in source.shapes
        self._names = _IN_MEMORY if in_memory else _STORED
        self._has_bias = config.flag("qkv_bias", True)
        encoder = self._stack()
        pooler = f"{self._prefix}pooler.dense.weight" in source.shapes
        size = config.integer("pooler_output_size", encoder.d_model, minimum=1) if pooler else 0
        classifies = name == _CLASSIFIER or (not name and "classifier.weight" in source.shapes)
        self.model = ModelSpec(
            encoder=encoder,
            decoder=NO_STACK,
            shared_embedding=False,
            tied_output=False,
            architecture="encoder",
            head=read_head(
                config,
                pooler_size=size,
                pooler_activation=read_activation(config, "pooler_act", "tanh"),
                classifies=classifies,
            ),
        )

    def plan(self) -> Iterator[tuple[str, Planned]]:
        """Where every tensor of the model comes from, by canonical name."""
        encoder, prefix = self.model.encoder, self._prefix
        d_model = encoder.d_model
        patches = f"{prefix}embeddings.patch_embeddings.projection."
        kernel = (d_model, self.channels, *self.patch_size)
        flat = partial(np.reshape, shape=(d_model, encoder.vector_size))
        yield "encoder.vectors.weight", Planned(f"{patches}weight", kernel, flat)
        yield "patch_bias", Planned(f"{patches}bias", (d_model,))
        yield "class", Planned(f"{prefix}embeddings.cls_token", (1, 1, d_model), np.ravel)
        table = (1, encoder.positions.max_length, d_model)
        yield "positions", Planned(f"{prefix}embeddings.position_embeddings", table, _only)
        norms = {**self._names.norms, "norm": f"{prefix}layernorm."}
        layer = prefix + self._names.layer
        names = replace(self._names, layer=layer, norms=norms, has_bias=self._has)
        yield from names.plan("encoder", encoder, d_model)
        yield from plan_head(self.model.head, d_model, f"{prefix}pooler.dense", "classifier")

    def also_allowed(self) -> dict[str, Shape]:
        """The token that training puts in the place of a patch."""
        return {f"{self._prefix}embeddings.mask_token": (1, 1, self.model.encoder.d_model)}

    def _has(self, name: str) -> bool:
        return self._has_bias or name not in _PROJECTIONS

    def _stack(self) -> StackSpec:
        config = self._config
        d_model = config.integer("hidden_size", 768, minimum=1)
        num_heads = config.integer("num_attention_heads", 12, minimum=1)
        if d_model % num_heads:
            raise CheckpointError(
                f"{config.path}: hidden_size {d_model} is not divisible by {num_heads} heads"
            )
        (height, width), (patch_height, patch_width) = self.picture_size, self.patch_size
        patches = (height // patch_height) * (width // patch_width)
        if not 0 < patches <= _MAX_PATCHES:
            raise CheckpointError(
                f"{config.path}: image_size and patch_size make {patches} patches, not 1 to "
                f"{_MAX_PATCHES}"
            )
        return StackSpec(
            num_layers=config.integer("num_hidden_layers", 12, maximum=_MAX_LAYERS),
            d_model=d_model,
            num_heads=num_heads,
            head_dim=d_model // num_heads,
            d_ff=config.integer("intermediate_size", 3072, minimum=1),
            vocab_size=1,
            activation=read_activation(config, "hidden_act", "gelu"),
            norm_position="pre",
            final_norm=True,
            embedding_norm=False,
            embedding_scale=1.0,
            attention_scale=(d_model // num_heads) ** -0.5,
            norm_epsilon=config.number("layer_norm_eps", 1e-12),
            positions=PositionSpec("learned", patches + 1),
            vector_size=self.channels * patch_height * patch_width,
        )


def _architecture(config: Settings) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _only(table: FloatArray) -> FloatArray:
    only: FloatArray = table[0]
    return only


def _table(class_token: FloatArray, bias: FloatArray, positions: FloatArray) -> FloatArray:
    """What is added to each vector: the class token's embedding or the patches' bias, too."""
    rows = positions + bias
    rows[0] = positions[0] + class_token
    return rows
