"""The one description of a model that every checkpoint loader produces.

A loader turns a checkpoint into a :class:`Checkpoint`: a :class:`ModelSpec` (the architecture), the
weights under canonical names in PyTorch's orientation, the defaults of generation and the
tokenizer's files. :mod:`pytransformer.native` packs a checkpoint into the native file, the only
thing that the engine reads. Names of the hyperparameters follow "Attention Is All You Need"
(Vaswani et al. 2017) and Hugging Face.

Canonical tensor names (``side`` is ``encoder`` or ``decoder``; shapes as in a PyTorch state dict)::

    shared.embedding.weight                [vocab_size, d_model]   one matrix for both sides, or
    {side}.embedding.weight                [vocab_size, d_model]   one each
    {side}.embedding.norm.{weight,bias}    [d_model]               if embedding_norm
    {side}.positions.weight                [positions, d_model]    if positions are learned
    {side}.norm.{weight,bias}              [d_model]               if final_norm
    output.weight                          [vocab_size, d_model]   unless the output is tied
    output.bias                            [vocab_size]            optional

and in ``{side}.layers.{i}``::

    self_attention.{query,key,value}.{weight,bias}  [num_heads * head_dim, d_model]
    self_attention.output.{weight,bias}             [d_model, num_heads * head_dim]
    self_attention.norm.{weight,bias}               [d_model]
    cross_attention.*            the decoder's only; as above, but key and value read the encoder
    feed_forward.up.{weight,bias}                   [d_ff, d_model]
    feed_forward.down.{weight,bias}                 [d_model, d_ff]
    feed_forward.norm.{weight,bias}                 [d_model]

Every ``bias`` of a linear layer is optional (absent means zero).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
NormPosition = Literal["pre", "post"]
PositionKind = Literal["none", "sinusoidal", "sinusoidal_interleaved", "learned"]


# Metadata of a field that files written before it existed lack; they mean its default.
LATER = {"later": True}


def _later(default: Any) -> Any:
    return field(default=default, metadata=LATER)


@dataclass(frozen=True)
class PositionSpec:
    """How a token's position enters its embedding.

    ``sinusoidal`` holds all sines, then all cosines (Marian, fairseq); ``sinusoidal_interleaved``
    alternates them as the paper writes it (section 3.5). ``offset`` is the table's row of the first
    token; ``max_length`` is how many tokens, all special ones included, have a position.
    """

    kind: PositionKind
    max_length: int
    offset: int = 0


@dataclass(frozen=True)
class StackSpec:
    """One stack of layers: the encoder or the decoder."""

    num_layers: int
    d_model: int
    num_heads: int
    head_dim: int
    d_ff: int
    vocab_size: int
    activation: Activation
    norm_position: NormPosition
    final_norm: bool
    embedding_norm: bool
    embedding_scale: float
    attention_scale: float
    norm_epsilon: float
    positions: PositionSpec


@dataclass(frozen=True)
class ModelSpec:
    """The architecture of an encoder-decoder Transformer."""

    encoder: StackSpec
    decoder: StackSpec
    shared_embedding: bool
    tied_output: bool
    architecture: str = "encoder_decoder"


@dataclass(frozen=True)
class GenerationSpec:
    """What the checkpoint says of decoding; lengths count tokens without start and end token."""

    decoder_start_token_id: int
    end_token_id: int
    forced_end_token_id: int | None
    suppress_token_ids: tuple[int, ...]
    max_decoding_length: int
    min_decoding_length: int = 0
    beam_size: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    more_end_token_ids: tuple[int, ...] = _later(())
    forced_bos_token_id: int | None = _later(None)
    repetition_penalty: float = _later(1.0)
    no_repeat_ngram_size: int = _later(0)
    suppress_sequences: tuple[tuple[int, ...], ...] = _later(())


@dataclass(frozen=True)
class TokenizerSpec:
    """Which tokenizer reads the files that the checkpoint carries, and its settings."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """What a loader gives: architecture, weights by canonical name, generation, tokenizer."""

    family: str
    model: ModelSpec
    generation: GenerationSpec
    tokenizer: TokenizerSpec
    tensors: Mapping[str, npt.NDArray[np.float32]]
    files: Mapping[str, bytes]

    def config_json(self) -> str:
        """The part of the native file's metadata that describes the model, as JSON."""
        tokenizer = {"kind": self.tokenizer.kind, "settings": dict(self.tokenizer.settings)}
        config = {
            "family": self.family,
            "model": dataclasses.asdict(self.model),
            "generation": dataclasses.asdict(self.generation),
            "tokenizer": tokenizer,
        }
        return json.dumps(config, sort_keys=True)
