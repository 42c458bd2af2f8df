"""The encoder-decoder models of Hugging Face that descend from fairseq's: BART and its relatives.

They name their layers alike, have biases on every linear layer and differ in little else than a
:class:`Family` says. Of the settings in old configurations that transformers no longer reads,
`normalize_before` is refused if it contradicts the family, since nothing else would betray where
the norms were when the layers were trained; `add_final_layer_norm` and `normalize_embedding` show
as tensors missing or left over, `static_position_embeddings` as stored positions,
`add_bias_logits` as `final_logits_bias`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, model_type, open_weights
from pytransformer.loaders.huggingface_activations import read_activation
from pytransformer.loaders.huggingface_embeddings import Embeddings, Tying, same_values
from pytransformer.loaders.huggingface_generation import read_generation
from pytransformer.loaders.huggingface_positions import Positions, table_shape
from pytransformer.loaders.stack_plan import StackNames, Stored
from pytransformer.loaders.tensor_plan import Planned, Shape, bind
from pytransformer.loaders.tensor_source import TensorSource
from pytransformer.model_spec import (
    Checkpoint,
    GenerationSpec,
    ModelSpec,
    NormPosition,
    StackSpec,
    TokenizerSpec,
)

# Of a directory, for vocabularies of so many tokens in the source and the target.
ReadTokenizer = Callable[[Path, Settings, int, int], tuple[TokenizerSpec, dict[str, bytes]]]

_LOGITS_BIAS = "final_logits_bias"
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_LAYER_NORM_EPSILON = 1e-5  # PyTorch's default, which these models never change
_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
_EMBEDDINGS = Embeddings(
    encoder="model.encoder.embed_tokens.weight",
    decoder="model.decoder.embed_tokens.weight",
    output="lm_head.weight",
    shared="model.shared.weight",
)


@dataclass(frozen=True)
class Vocabularies:
    """The numbers of tokens that the configuration gives, and which matrices it ties."""

    source: int
    target: int
    tying: Tying


def read_one_vocabulary(config: Settings) -> Vocabularies:
    """One vocabulary and one embedding for both sides."""
    size = config.integer("vocab_size", 50265, minimum=1)
    return Vocabularies(size, size, Tying(True, config.flag("tie_word_embeddings", True)))


@dataclass(frozen=True)
class Family:
    """What sets one family of models apart; one of the loaders of :mod:`pytransformer.loaders`.

    `defaults` are what its configurations mean where they say nothing, if that is not what most
    families mean; `embeddings` are the names of its embeddings and its output.
    """

    model_type: str
    DESCRIPTION: str
    norm_position: NormPosition
    final_norm: bool
    embedding_norm: bool
    positions: Positions
    read_tokenizer: ReadTokenizer
    defaults: Mapping[str, Any] = field(default_factory=dict)
    read_vocabularies: Callable[[Settings], Vocabularies] = read_one_vocabulary
    embeddings: Embeddings = _EMBEDDINGS

    def recognises(self, path: Path) -> bool:
        """Whether there is a config.json here that names this family as its model_type."""
        return model_type(path) == self.model_type

    def load(self, path: Path) -> Checkpoint:
        """Reads the directory; see :func:`pytransformer.loaders.load`."""
        return self.build(path, Settings.read(path / "config.json"), open_weights(path))

    def build(self, directory: Path, config: Settings, source: TensorSource) -> Checkpoint:
        """The checkpoint with these settings and weights, and the other files of a directory."""
        config = config.with_defaults(self.defaults)
        self._refuse_unsupported(config)
        parts = _Parts(self, config, source)
        model = parts.model
        sizes = model.encoder.vocab_size, model.decoder.vocab_size
        max_length = model.decoder.positions.max_length
        generation = read_generation(directory, config, sizes[1], max_length)
        self._check_start(config, generation)
        tensors = bind(directory, source, dict(parts.plan()), parts.also_allowed())
        tokenizer, files = self.read_tokenizer(directory, config, *sizes)
        return Checkpoint(self.model_type, model, generation, tokenizer, tensors, files)

    def _refuse_unsupported(self, config: Settings) -> None:
        is_pre_norm = self.norm_position == "pre"
        if config.flag("normalize_before", is_pre_norm) != is_pre_norm:
            place = "in front of" if is_pre_norm else "behind"
            raise UnsupportedModelError(
                f"{config.path}: normalize_before = {str(not is_pre_norm).lower()}, but models of "
                f"type {self.model_type!r} have the norm {place} each sublayer"
            )
        if not config.flag("is_encoder_decoder", True):
            raise UnsupportedModelError(
                f"{config.path}: a decoder without an encoder cannot translate"
            )

    def _check_start(self, config: Settings, generation: GenerationSpec) -> None:
        """Positions that are counted from the padding token are not given to padding itself."""
        start = generation.decoder_start_token_id
        if self.positions.offset is None and start == config.integer("pad_token_id", 1):
            raise UnsupportedModelError(
                f"{config.path}: decoder_start_token_id = {start} is the padding token, which has "
                f"no position in models of type {self.model_type!r}"
            )


class _Parts:
    """The architecture of one checkpoint, and its tensors."""

    def __init__(self, family: Family, config: Settings, source: TensorSource) -> None:
        self._family = family
        self._config = config
        self._source = source
        # A model without its output was saved without the prefix.
        self._is_bare = any(name.startswith("encoder.") for name in source.shapes)
        vocabularies = family.read_vocabularies(config)
        self._tying = vocabularies.tying
        self._embeddings = family.embeddings.renamed(self._stored)
        self._chosen = chosen = self._embeddings.resolve(source, self._tying)
        self.model = ModelSpec(
            encoder=self._stack("encoder", vocabularies.source),
            decoder=self._stack("decoder", vocabularies.target),
            shared_embedding=same_values(source, chosen.encoder, chosen.decoder),
            tied_output=same_values(source, chosen.output, chosen.decoder),
        )

    def plan(self) -> Iterator[tuple[str, Planned]]:
        """Where every tensor of the model comes from, by canonical name."""
        decoder = self.model.decoder
        chosen, d_model = self._chosen, decoder.d_model
        for side, stack, embedding in (
            ("encoder", self.model.encoder, chosen.encoder),
            ("decoder", decoder, chosen.decoder),
        ):
            canonical = "shared" if self.model.shared_embedding else side
            shape = (stack.vocab_size, d_model)
            yield f"{canonical}.embedding.weight", Planned(embedding, shape)
            if stack.positions.kind == "learned":
                positions = Planned(self._positions(side), table_shape(stack.positions, d_model))
                yield f"{side}.positions.weight", positions
            yield from self._names(side).plan(side, stack, d_model)
        if not self.model.tied_output:
            yield "output.weight", Planned(chosen.output, (decoder.vocab_size, d_model))
        if _LOGITS_BIAS in self._source.shapes:
            shape = (1, decoder.vocab_size)
            yield "output.bias", Planned(_LOGITS_BIAS, shape, lambda bias: bias.flatten())

    def also_allowed(self) -> dict[str, Shape]:
        """Tensors that may be stored as well: copies of tied ones, and computed positions."""
        encoder, decoder = self.model.encoder, self.model.decoder
        names = self._embeddings
        allowed: dict[str, Shape] = {
            names.encoder: (encoder.vocab_size, encoder.d_model),
            names.decoder: (decoder.vocab_size, decoder.d_model),
            names.output: (decoder.vocab_size, decoder.d_model),
        }
        if self._tying.shared:
            allowed[names.shared] = (encoder.vocab_size, encoder.d_model)
        for side, stack in (("encoder", encoder), ("decoder", decoder)):
            allowed[self._positions(side)] = table_shape(stack.positions, stack.d_model)
            allowed[self._stored(f"model.{side}.version")] = (1,)  # fairseq's mark of a model's age
        return allowed

    def _stored(self, name: str) -> str:
        """The name in this checkpoint of what its family usually stores under `name`."""
        return name.removeprefix("model.") if self._is_bare else name

    def _positions(self, side: str) -> str:
        return self._stored(f"model.{side}.{self._family.positions.name}")

    def _stack(self, side: str, vocab_size: int) -> StackSpec:
        config, family = self._config, self._family
        d_model = config.integer("d_model", 1024, minimum=1)
        num_heads = config.integer(f"{side}_attention_heads", 16, minimum=1)
        if d_model % num_heads:
            raise CheckpointError(
                f"{config.path}: d_model {d_model} is not divisible by {num_heads} heads"
            )
        head_dim = d_model // num_heads
        scaled = config.flag("scale_embedding", False)
        return StackSpec(
            num_layers=config.integer(f"{side}_layers", 12, maximum=_MAX_LAYERS),
            d_model=d_model,
            num_heads=num_heads,
            head_dim=head_dim,
            d_ff=config.integer(f"{side}_ffn_dim", 4096, minimum=1),
            vocab_size=vocab_size,
            activation=read_activation(config, "activation_function", "gelu"),
            norm_position=family.norm_position,
            final_norm=family.final_norm,
            embedding_norm=family.embedding_norm,
            embedding_scale=math.sqrt(d_model) if scaled else 1.0,
            attention_scale=head_dim**-0.5,
            norm_epsilon=_LAYER_NORM_EPSILON,
            positions=family.positions.describe(
                config, self._source, self._positions(side), d_model
            ),
        )

    def _names(self, side: str) -> StackNames:
        start = self._stored(f"model.{side}.")
        attentions = {"self_attention": "self_attn"}
        if side == "decoder":
            attentions["cross_attention"] = "encoder_attn"
        linears = {"feed_forward.up": Stored("fc1."), "feed_forward.down": Stored("fc2.")}
        norms = {"feed_forward.norm": "final_layer_norm."}
        for attention, stored in attentions.items():
            for part, projection in _PROJECTIONS.items():
                linears[f"{attention}.{part}"] = Stored(f"{stored}.{projection}.")
            norms[f"{attention}.norm"] = f"{stored}_layer_norm."
        if self._family.final_norm:
            norms["norm"] = f"{start}layer_norm."
        if self._family.embedding_norm:
            norms["embedding.norm"] = f"{start}layernorm_embedding."
        return StackNames(f"{start}layers.{{}}.", linears, norms)
