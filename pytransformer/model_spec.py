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
    encoder.vectors.weight                 [d_model, vector_size]  instead of an embedding
    output.weight                          [vocab_size, d_model]   unless the output is tied
    output.bias                            [vocab_size]            optional
    pooler.{weight,bias}                   [pooler_size, d_model]  if an encoder's head has one
    classifier.{weight,bias}               [labels, pooler_size or d_model]  likewise

and in ``{side}.layers.{i}``::

    self_attention.{query,key,value}.{weight,bias}  [num_heads * head_dim, d_model]
    self_attention.output.{weight,bias}             [d_model, num_heads * head_dim]
    self_attention.norm.{weight,bias}               [d_model]
    self_attention.distances.bias                   [num_heads, 2 * max_distance + 1]
    self_attention.distances.{keys,values}          [2 * max_distance + 1, head_dim]
    cross_attention.*            the decoder's only; as above, but key and value read the encoder
    feed_forward.up.{weight,bias}                   [d_ff, d_model]
    feed_forward.gate.{weight,bias}                 [d_ff, d_model]     if gated
    feed_forward.middle.{j}.{weight,bias}           [d_ff, d_ff]        feed_forward_depth - 2 times
    feed_forward.down.{weight,bias}                 [d_model, d_ff]
    feed_forward.norm.{weight,bias}                 [d_model]

A decoder whose ``autoregression`` is no self-attention has, instead of ``self_attention``::

    ssru.{input,forget}.{weight,bias}               [d_model, d_model]
    ssru.output.{weight,bias}                       [d_model, d_model]  optional
    ssru.norm.{weight,bias}                         [d_model]
    average.layers.{j}.{weight,bias}                [width, d_model], …, [d_model, width]
    average.{input_gate,forget_gate}.{weight,bias}  [d_model, d_model]  optional, both or none
    average.norm.{weight,bias}                      [d_model]

Every ``bias`` is optional (absent means zero), that of a norm too. So is ``output`` of an attention
whose heads together are as wide as the model (absent means the identity), and all norms of layers
are absent if ``norm_position`` is "none". Column ``d + max_distance`` of ``distances`` belongs to
keys that stand ``d`` behind their query (before it, where ``d`` is negative).
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

Activation = Literal["relu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu", "tanh"]
NormKind = Literal["layer", "rms", "deviation"]
NormPosition = Literal["pre", "post", "none"]
PositionKind = Literal[
    "none", "sinusoidal", "sinusoidal_interleaved", "sinusoidal_tensor2tensor", "learned"
]
DistanceKind = Literal["bias", "vectors", "rotary"]
Autoregression = Literal["self_attention", "ssru", "average_attention"]
Architecture = Literal["encoder_decoder", "encoder", "decoder"]
BeamRule = Literal["generate", "marian"]
Chances = Literal["softmax", "sigmoid", "none"]

# The kind of a TokenizerSpec that describes a :class:`pytransformer.pictures.PictureReader`.
PICTURES = "pictures"

# As the start token of a decoder: an embedding of zeros.
NO_TOKEN = -1


# Metadata of a field that files written before it existed lack; they mean its default.
LATER = {"later": True}


def _later(default: Any) -> Any:
    return field(default=default, metadata=LATER)


@dataclass(frozen=True)
class PositionSpec:
    """How a token's position enters its embedding.

    ``sinusoidal_interleaved`` alternates sines and cosines as the paper writes it (section 3.5);
    ``sinusoidal`` holds all sines, then all cosines (Hugging Face's MarianMT and Pegasus).
    ``sinusoidal_tensor2tensor`` does the same with frequencies that reach 1 / 10000:
    10000^(-i / (d_model / 2 - 1)) (Tensor2Tensor, fairseq, Marian, M2M100). ``offset`` is the
    table's row of the first token; ``max_length`` is how many tokens, all special ones included,
    have a position. With ``segments`` above 1 a learned table has that many times ``max_length``
    rows, one block for each type of token (BERT).
    """

    kind: PositionKind
    max_length: int
    offset: int = 0
    segments: int = _later(1)


@dataclass(frozen=True)
class DistanceSpec:
    """How self-attention sees the distance of key and query; further ones count as the furthest.

    ``bias`` is added to the scaled score (T5, whose buckets the loader spreads out); ``vectors``
    are added to keys and values (Shaw et al. 2018, "Self-Attention with Relative Position
    Representations"); ``rotary`` turns queries and keys, the first half of a head against the
    second (Su et al. 2021, "RoFormer"), by angles position * theta^(-2 i / head_dim).
    """

    kind: DistanceKind
    max_distance: int = 0
    theta: float = 10000.0


@dataclass(frozen=True)
class AverageSpec:
    """The average attention of a decoder (Zhang et al. 2018), as Marian computes it.

    The mean of all inputs so far goes through ``num_layers`` linear layers, ``width`` wide between
    them, with the activation behind all but the last.
    """

    num_layers: int
    width: int
    activation: Activation
    gated: bool


@dataclass(frozen=True)
class StackSpec:
    """One stack of layers: the encoder or the decoder.

    ``norm`` "rms" is Zhang and Sennrich (2019), without mean and bias; "deviation" divides by the
    unbiased standard deviation plus epsilon (The Annotated Transformer). ``gated`` multiplies the
    activation of ``gate`` with ``up`` (Shazeer 2020, "GLU Variants Improve Transformer").
    ``autoregression`` is how a decoder's tokens learn of those before them: "ssru" is the simpler
    simple recurrent unit (Kim et al. 2019, "From Research to Production and Back"). An encoder with
    a ``vector_size`` reads vectors of so many numbers in place of tokens (pieces of a picture).
    """

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
    norm: NormKind = _later("layer")
    gated: bool = _later(False)
    feed_forward_depth: int = _later(2)
    distances: DistanceSpec | None = _later(None)
    autoregression: Autoregression = _later("self_attention")
    average: AverageSpec | None = _later(None)
    vector_size: int = _later(0)


NO_STACK = StackSpec(
    num_layers=0,
    d_model=1,
    num_heads=1,
    head_dim=1,
    d_ff=1,
    vocab_size=1,
    activation="relu",
    norm_position="none",
    final_norm=False,
    embedding_norm=False,
    embedding_scale=1.0,
    attention_scale=1.0,
    norm_epsilon=0.0,
    positions=PositionSpec("none", 1),
)


@dataclass(frozen=True)
class HeadSpec:
    """What reads the first row of an encoder alone (BERT's [CLS], ViT's class token).

    The pooler is a linear layer with an activation; a ``pooler_size`` of 0 means none. The
    classifier has an output for each of ``labels`` (none means that there is no classifier) and
    reads what the pooler gives, or the first row itself. ``chances`` says how its outputs become
    probabilities; "none" are values of a regression.
    """

    pooler_size: int
    pooler_activation: Activation
    labels: tuple[str, ...]
    chances: Chances


@dataclass(frozen=True)
class ModelSpec:
    """The architecture of a Transformer: encoder and decoder, or one of them alone.

    The stack that an architecture lacks is ``NO_STACK``; only an encoder alone has a ``head``.
    """

    encoder: StackSpec
    decoder: StackSpec
    shared_embedding: bool
    tied_output: bool
    architecture: Architecture = "encoder_decoder"
    head: HeadSpec | None = _later(None)


@dataclass(frozen=True)
class GenerationSpec:
    """What the checkpoint says of decoding; lengths count tokens without start and end token.

    ``beam_rule`` "marian" is Marian's beam search: each finished hypothesis leaves the search with
    one beam less. ``max_length_factor`` and ``renormalize_logits`` are as the options of that name.
    """

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
    beam_rule: BeamRule = _later("generate")
    max_length_factor: float = _later(0.0)
    renormalize_logits: bool = _later(False)


# Of an encoder alone, which decodes nothing.
NO_GENERATION = GenerationSpec(
    decoder_start_token_id=0,
    end_token_id=0,
    forced_end_token_id=None,
    suppress_token_ids=(),
    max_decoding_length=1,
)


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
    compute_type: str = "float32"  # in which "default" computes: int8 if so stored

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
