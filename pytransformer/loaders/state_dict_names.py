"""How the tensors of Transformers written in PyTorch are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.stack_plan import StackNames, Stored, fused
from pytransformer.loaders.tensor_plan import Shape
from pytransformer.loaders.tensor_source import TensorSource
from pytransformer.model_spec import NormKind

SIDES = ("encoder", "decoder")


@dataclass(frozen=True)
class ModelNames:
    """The names in one state dict; of embeddings and positions one for each side.

    `output` is the name of the weight; positions are None if they are not stored.
    """

    stacks: tuple[StackNames, StackNames]
    embeddings: tuple[str, str]
    positions: tuple[str | None, str | None]
    output: str


@dataclass(frozen=True)
class Architecture:
    """What distinguishes an architecture besides its names."""

    find: Callable[[Settings, TensorSource], ModelNames]
    norm: NormKind = "layer"
    norm_epsilon: float = 1e-5
    is_pre_norm: bool | None = None  # None: the description says it


# What people call the modules around nn.Transformer.
_SOURCE_EMBEDDINGS = (
    "src_tok_emb.embedding", "src_tok_emb", "src_embedding.embedding", "src_embedding", "src_embed",
    "src_emb", "src_word_embedding", "source_embedding", "encoder_embedding", "enc_embedding",
    "embedding_src", "encoder_emb", "tok_emb.embedding", "tok_emb", "embedding.embedding",
    "embedding", "embed",
)  # fmt: skip
_TARGET_EMBEDDINGS = (
    "tgt_tok_emb.embedding", "tgt_tok_emb", "tgt_embedding.embedding", "tgt_embedding", "tgt_embed",
    "tgt_emb", "trg_embedding", "trg_word_embedding", "tgt_word_embedding", "target_embedding",
    "decoder_embedding", "dec_embedding", "embedding_tgt", "decoder_emb", "tok_emb.embedding",
    "tok_emb", "embedding.embedding", "embedding", "embed",
)  # fmt: skip
_OUTPUTS = (
    "generator", "generator.proj", "fc_out", "out", "fc", "linear", "output", "output_layer",
    "output_projection", "projection", "lm_head", "head",
)  # fmt: skip
_TABLES = (
    "positional_encoding.pos_embedding", "positional_encoding.pe", "pos_encoder.pe",
    "positional_encoder.pe", "positional_encoder.pos_encoding", "pos_encoding.pe",
    "position_encoding.pe", "positional_encoding.weight", "pos_embedding.weight",
    "position_embedding.weight", "pos_emb.weight", "positional_embedding.weight",
)  # fmt: skip
_SOURCE_TABLES = (
    "src_position_embedding.weight", "src_pos_embedding.weight", "src_pos_emb.weight",
    "source_positions.weight", *_TABLES,
)  # fmt: skip
_TARGET_TABLES = (
    "trg_position_embedding.weight", "tgt_position_embedding.weight", "trg_pos_embedding.weight",
    "tgt_pos_embedding.weight", "tgt_pos_emb.weight", "target_positions.weight", *_TABLES,
)  # fmt: skip


class _Finder:
    """Looks tensors up by the names that they may have."""

    def __init__(self, config: Settings, source: TensorSource, prefixes: Sequence[str]) -> None:
        names = config.values.get("names")
        if names is not None and not isinstance(names, dict):
            raise config.error("names", "an object")
        self._given = Settings(names or {}, config.path)
        self._shapes = source.shapes
        self._prefixes = prefixes

    def find(self, keys: Sequence[str], candidates: Sequence[str]) -> str | None:
        """The name that the description gives under one of the keys, or the first that is there."""
        given = next((self._given.text(key, "") for key in keys if self._given.get(key)), "")
        if given:
            return given
        names = (prefix + name for prefix in self._prefixes for name in candidates)
        return next((name for name in names if name in self._shapes), None)

    def require(self, key: str, modules: Sequence[str]) -> str:
        """The name of a module's weight, which must be there."""
        name = self.find([key], [f"{module}.weight" for module in modules])
        if name is None:
            raise CheckpointError(
                f"{self._given.path}: no tensor has a usual name of the {key.replace('_', ' ')}; "
                f"give its name as names.{key}"
            )
        return name


def _find_pytorch(config: Settings, source: TensorSource) -> ModelNames:
    decoder = _only_prefix(config, source, "layers.0.multihead_attn.in_proj_weight")
    encoder = _only_prefix(config, source, "layers.0.self_attn.in_proj_weight", but=decoder)
    parts = decoder.split(".")[:-1]
    finder = _Finder(
        config, source, ["".join(f"{p}." for p in parts[:n]) for n in range(len(parts))]
    )
    embeddings = (
        finder.require("source_embedding", _SOURCE_EMBEDDINGS),
        finder.require("target_embedding", _TARGET_EMBEDDINGS),
    )
    width = width_of(source.shapes.get(embeddings[1], ()))
    has_bias = f"{decoder}layers.0.linear1.bias" in source.shapes
    if config.flag("bias", has_bias) != has_bias:
        raise config.error("bias", f"{str(has_bias).lower()}, as the weights are")
    stacks = []
    for side, prefix in zip(SIDES, (encoder, decoder), strict=True):
        attentions = {"self_attention": "self_attn"}
        if side == "decoder":
            attentions["cross_attention"] = "multihead_attn"
        linears = {"feed_forward.up": Stored("linear1."), "feed_forward.down": Stored("linear2.")}
        for attention, theirs in attentions.items():
            linears.update(fused(attention, f"{theirs}.in_proj_", width))
            linears[f"{attention}.output"] = Stored(f"{theirs}.out_proj.")
        sublayers = [*attentions, "feed_forward"]
        norms = {f"{name}.norm": f"norm{i}." for i, name in enumerate(sublayers, 1)}
        if f"{prefix}norm.weight" in source.shapes:
            norms["norm"] = f"{prefix}norm."
        stacks.append(StackNames(f"{prefix}layers.{{}}.", linears, norms, lambda _: has_bias))
    return ModelNames(
        (stacks[0], stacks[1]),
        embeddings,
        (
            finder.find(["source_positions", "positions"], _SOURCE_TABLES),
            finder.find(["target_positions", "positions"], _TARGET_TABLES),
        ),
        finder.require("output", _OUTPUTS),
    )


def _only_prefix(config: Settings, source: TensorSource, ending: str, but: str = "") -> str:
    found = [name.removesuffix(ending) for name in source.shapes if name.endswith(ending)]
    others = [prefix for prefix in found if not but or prefix != but]
    if len(others) != 1:
        raise CheckpointError(
            f"{config.path}: {len(others)} tensors are named …{ending}; in a model with one "
            "nn.Transformer there is one in its encoder and one in its decoder"
        )
    return others[0]


def _find_annotated(config: Settings, source: TensorSource) -> ModelNames:
    stacks = []
    for side, attentions in (
        ("encoder", {"self_attention": "self_attn"}),
        ("decoder", {"self_attention": "self_attn", "cross_attention": "src_attn"}),
    ):
        linears = {
            "feed_forward.up": Stored("feed_forward.w_1."),
            "feed_forward.down": Stored("feed_forward.w_2."),
        }
        for attention, theirs in attentions.items():
            for i, part in enumerate(("query", "key", "value", "output")):
                linears[f"{attention}.{part}"] = Stored(f"{theirs}.linears.{i}.")
        sublayers = [*attentions, "feed_forward"]
        norms = {f"{name}.norm": f"sublayer.{i}.norm." for i, name in enumerate(sublayers)}
        stacks.append(
            StackNames(
                f"{side}.layers.{{}}.",
                linears,
                {**norms, "norm": f"{side}.norm."},
                norm_weight="a_2",
                norm_bias="b_2",
            )
        )
    return _model_names(
        config,
        source,
        stacks,
        embeddings=("src_embed.0.lut", "tgt_embed.0.lut"),
        positions=("src_embed.1.pe", "tgt_embed.1.pe"),
        output="generator.proj",
    )


def _find_seq2seq(config: Settings, source: TensorSource) -> ModelNames:
    stacks = []
    for side, attentions in (
        ("encoder", {"self_attention": ("self_attention", "self_attn_layer_norm")}),
        (
            "decoder",
            {
                "self_attention": ("self_attention", "self_attn_layer_norm"),
                "cross_attention": ("encoder_attention", "enc_attn_layer_norm"),
            },
        ),
    ):
        linears = {
            "feed_forward.up": Stored("positionwise_feedforward.fc_1."),
            "feed_forward.down": Stored("positionwise_feedforward.fc_2."),
        }
        for attention, (theirs, _) in attentions.items():
            for part, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o")):
                linears[f"{attention}.{part}"] = Stored(f"{theirs}.fc_{letter}.")
        norms = {f"{attention}.norm": f"{norm}." for attention, (_, norm) in attentions.items()}
        norms["feed_forward.norm"] = "ff_layer_norm."
        # For some months of 2020 the tutorial had one norm for all sublayers of a layer.
        if f"{side}.layers.0.layer_norm.weight" in source.shapes:
            norms = dict.fromkeys(norms, "layer_norm.")
        stacks.append(StackNames(f"{side}.layers.{{}}.", linears, norms))
    return _model_names(
        config,
        source,
        stacks,
        embeddings=("encoder.tok_embedding", "decoder.tok_embedding"),
        positions=("encoder.pos_embedding.weight", "decoder.pos_embedding.weight"),
        output="decoder.fc_out",
    )


def _model_names(
    config: Settings,
    source: TensorSource,
    stacks: Sequence[StackNames],
    *,
    embeddings: tuple[str, str],
    positions: tuple[str, str],
    output: str,
) -> ModelNames:
    """The names of a model whose parts have one name each."""
    finder = _Finder(config, source, [""])
    return ModelNames(
        (stacks[0], stacks[1]),
        (
            finder.require("source_embedding", [embeddings[0]]),
            finder.require("target_embedding", [embeddings[1]]),
        ),
        (
            finder.find(["source_positions", "positions"], positions[:1]),
            finder.find(["target_positions", "positions"], positions[1:]),
        ),
        finder.require("output", [output]),
    )


def width_of(shape: Shape) -> int:
    """The columns of a matrix; 0 if it is none."""
    return shape[1] if len(shape) == 2 else 0


def layer_count(source: TensorSource, names: StackNames) -> int:
    """How many layers are stored: the numbers in names, whatever is missing in between."""
    before, after = names.layer.split("{}")
    pattern = re.compile(re.escape(before) + r"(\d{1,3})" + re.escape(after))
    found = (pattern.match(name) for name in source.shapes)
    return max((int(match[1]) + 1 for match in found if match), default=0)


ARCHITECTURES: Mapping[str, Architecture] = {
    "nn.Transformer": Architecture(_find_pytorch),
    "annotated_transformer": Architecture(
        _find_annotated, norm="deviation", norm_epsilon=1e-6, is_pre_norm=True
    ),
    "pytorch_seq2seq": Architecture(_find_seq2seq, is_pre_norm=False),
}
