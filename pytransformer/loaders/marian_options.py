"""The options of Marian's models: what they mean for the architecture.

Names and defaults are those of Marian 1.12 (`marian --help`). An option that is not read here, and
not known to leave a Transformer's translations as they are, must be off: what a newer Marian adds
is refused by name as soon as a model uses it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.model_spec import (
    Activation,
    Autoregression,
    AverageSpec,
    ModelSpec,
    NormKind,
    NormPosition,
    PositionSpec,
    StackSpec,
)

# Marian computes positions as it goes. So many are enough for any sentence.
MAX_LENGTH = 1024
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_EPSILON = 1e-6
_READ = {
    "type", "version", "dim-vocabs", "dim-emb", "enc-depth", "dec-depth", "dec-cell",
    "layer-normalization", "input-types", "tied-embeddings", "tied-embeddings-src",
    "tied-embeddings-all", "output-omit-bias", "transformer-heads", "transformer-no-projection",
    "transformer-rnn-projection", "transformer-dim-ffn", "transformer-decoder-dim-ffn",
    "transformer-ffn-depth", "transformer-decoder-ffn-depth", "transformer-ffn-activation",
    "transformer-dim-aan", "transformer-aan-depth", "transformer-aan-activation",
    "transformer-aan-nogate", "transformer-decoder-autoreg", "transformer-tied-layers",
    "transformer-preprocess", "transformer-postprocess", "transformer-postprocess-emb",
    "transformer-postprocess-top", "transformer-disable-position-embeddings",
    "transformer-attention-mask",
}  # fmt: skip
# Of recurrent models, of training, or of alignments. What trained positions are is seen by their
# table: the option of that name has no effect.
_WITHOUT_EFFECT = {
    "dim-rnn", "enc-type", "enc-cell", "enc-cell-depth", "dec-cell-base-depth",
    "dec-cell-high-depth", "skip", "bert-train-type-embeddings", "bert-type-vocab-size",
    "factors-combine", "separator-symbol", "transformer-depth-scaling",
    "transformer-guided-alignment-layer", "transformer-train-position-embeddings",
    "transformer-train-positions", "transformer-dropout", "transformer-dropout-attention",
    "transformer-dropout-ffn",
}  # fmt: skip
# How options begin that describe a model; a training's configuration holds many others.
_OF_MODELS = (
    "type", "version", "dim-", "enc-", "dec-", "transformer-", "tied-", "output-omit-bias",
    "lemma-", "factors-", "ulr", "input-", "right-left", "skip", "layer-normalization",
)  # fmt: skip
_OFF: tuple[Any, ...] = (False, 0, 0.0, "", None, [])

_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})")
# From here on, keys and values of pre-norm self-attention are normalised, as the queries are.
_NORMALISED_KEYS = (1, 11, 0)
# From here on, GELU is exact.
_EXACT_GELU = (1, 12, 3)
_AUTOREGRESSIONS: dict[str, Autoregression] = {
    "self-attention": "self_attention",
    "average-attention": "average_attention",
    "rnn": "ssru",
}
_NORMS: dict[tuple[str, str], NormPosition] = {
    ("", "an"): "post",
    ("n", "a"): "pre",
    ("", "a"): "none",
}


@dataclass(frozen=True)
class Architecture:
    """What the options say of a model.

    Attributes:
        spec: the architecture; its positions are sinusoids unless there are none.
        projection: whether attention has a matrix behind its heads.
        unit_projection: whether the SSRU has one.
        layers: for each layer of the decoder, the number in the names of its parameters.
        embeddings: the names of the encoder's and the decoder's embedding.
        output_bias: whether the output layer has a bias.
    """

    spec: ModelSpec
    projection: bool
    unit_projection: bool
    layers: tuple[int, ...]
    embeddings: tuple[str, str]
    output_bias: bool


def of_the_model(options: Settings) -> Settings:
    """Those of a training's options that describe the model."""
    values = {name: value for name, value in options.values.items() if name.startswith(_OF_MODELS)}
    return Settings(values, options.path)


def read_architecture(options: Settings) -> Architecture:
    """Raises UnsupportedModelError that names an option which the engine cannot follow."""
    _refuse_unsupported(options)
    source_tied = options.flag("tied-embeddings-src", False)
    all_tied = options.flag("tied-embeddings-all", False)
    shared = source_tied or all_tied
    spec = ModelSpec(
        encoder=_stack(options, is_decoder=False),
        decoder=_stack(options, is_decoder=True),
        shared_embedding=shared,
        tied_output=all_tied or options.flag("tied-embeddings", False),
    )
    if shared and spec.encoder.vocab_size != spec.decoder.vocab_size:
        raise options.error("dim-vocabs", "two equal numbers, since the embeddings are tied")
    return Architecture(
        spec=spec,
        projection=not options.flag("transformer-no-projection", False),
        unit_projection=options.flag("transformer-rnn-projection", False),
        layers=_tied_layers(options, spec.decoder.num_layers),
        embeddings=("Wemb", "Wemb") if shared else ("encoder_Wemb", "decoder_Wemb"),
        output_bias=not options.flag("output-omit-bias", False),
    )


def _refuse_unsupported(options: Settings) -> None:
    kind = options.text("type", "amun")
    if kind != "transformer":
        raise UnsupportedModelError(
            f"{options.path}: a model of type {kind!r}; only 'transformer' is supported"
        )
    if options.text("transformer-attention-mask", "default") != "default":
        raise _unsupported(options, "transformer-attention-mask")
    types = options.get("input-types")
    if isinstance(types, list) and any(item != "sequence" for item in types):
        raise _unsupported(options, "input-types")
    for name, value in options.values.items():
        if name not in _READ and name not in _WITHOUT_EFFECT and value not in _OFF:
            raise _unsupported(options, name)


def _unsupported(options: Settings, name: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{options.path}: the model option {name} = {options.get(name)!r} is not supported"
    )


def _stack(options: Settings, *, is_decoder: bool) -> StackSpec:
    side = "dec" if is_decoder else "enc"
    d_model = options.integer("dim-emb", 512, minimum=1)
    num_heads = options.integer("transformer-heads", 8, minimum=1)
    if d_model % num_heads:
        raise CheckpointError(
            f"{options.path}: dim-emb {d_model} is not divisible by {num_heads} heads"
        )
    position, norm, embedding_norm, final_norm = _norms(options)
    with_positions = not options.flag("transformer-disable-position-embeddings", False)
    autoregression = _autoregression(options) if is_decoder else "self_attention"
    is_average = autoregression == "average_attention"
    return StackSpec(
        num_layers=options.integer(f"{side}-depth", 1, maximum=_MAX_LAYERS),
        d_model=d_model,
        num_heads=num_heads,
        head_dim=d_model // num_heads,
        d_ff=_of_side(options, "dim-ffn", 2048, is_decoder),
        vocab_size=_vocab_sizes(options)[is_decoder],
        activation=_activation(options, "transformer-ffn-activation"),
        norm_position=position,
        final_norm=final_norm,
        embedding_norm=embedding_norm,
        embedding_scale=math.sqrt(d_model) if with_positions else 1.0,
        attention_scale=(d_model // num_heads) ** -0.5,
        norm_epsilon=_EPSILON,
        positions=PositionSpec(
            "sinusoidal_tensor2tensor" if with_positions else "none", MAX_LENGTH
        ),
        norm=norm,
        feed_forward_depth=_depth(
            options, "transformer-ffn-depth", _of_side(options, "ffn-depth", 2, is_decoder)
        ),
        autoregression=autoregression,
        average=_average(options, d_model, position) if is_average else None,
    )


def _of_side(options: Settings, name: str, default: int, is_decoder: bool) -> int:
    """A size that the decoder has too unless it has one of its own."""
    own = options.integer(f"transformer-decoder-{name}", 0)
    usual = options.integer(f"transformer-{name}", default, minimum=1)
    return own if is_decoder and own > 0 else usual


def _depth(options: Settings, name: str, depth: int) -> int:
    if not 2 <= depth <= _MAX_LAYERS:
        raise UnsupportedModelError(
            f"{options.path}: {name}: a depth of {depth} is not supported; expected 2 or more"
        )
    return depth


def _vocab_sizes(options: Settings) -> tuple[int, int]:
    sizes = options.get("dim-vocabs")
    if not isinstance(sizes, list) or not all(
        type(size) is int and 0 < size < 2**31 for size in sizes
    ):
        raise options.error("dim-vocabs", "the sizes of the vocabularies")
    if len(sizes) != 2:
        raise UnsupportedModelError(
            f"{options.path}: {len(sizes)} vocabularies (dim-vocabs); only one source and one "
            "target are supported"
        )
    return sizes[0], sizes[1]


def _norms(options: Settings) -> tuple[NormPosition, NormKind, bool, bool]:
    """Place and kind of the norms of layers; whether embeddings and the whole stack have one."""
    names = {
        "transformer-preprocess": "",
        "transformer-postprocess": "dan",
        "transformer-postprocess-emb": "d",
        "transformer-postprocess-top": "",
    }
    # Dropout is of training.
    codes = {name: options.text(name, usual).replace("d", "") for name, usual in names.items()}
    kind: NormKind = "rms" if "r" in "".join(codes.values()) else "layer"
    letter = "r" if kind == "rms" else "n"
    before, after, embedding, top = (code.replace(letter, "n") for code in codes.values())
    position = _NORMS.get((before, after))
    if position is None or (kind == "rms" and "n" in "".join(codes.values())):
        raise UnsupportedModelError(
            f"{options.path}: the operations {codes} around layers are not supported; expected "
            "'an' or 'ar' behind them, or 'n' or 'r' before and 'a' behind, of one kind"
        )
    for name, code in zip(list(names)[2:], (embedding, top), strict=True):
        if code not in ("", "n"):
            raise _unsupported(options, name)
    if position == "pre" and _version(options) < _NORMALISED_KEYS:
        raise UnsupportedModelError(
            f"{options.path}: transformer-preprocess {codes['transformer-preprocess']!r} of a "
            f"Marian before 1.11 (version {options.text('version', 'not stated')}), which did not "
            "normalise keys and values of self-attention, is not supported"
        )
    return position, kind, embedding == "n", top == "n"


def _version(options: Settings) -> tuple[int, ...]:
    found = _VERSION.match(options.text("version", ""))
    return tuple(map(int, found.groups())) if found else (0, 0, 0)


def _activation(options: Settings, name: str) -> Activation:
    exact = _version(options) >= _EXACT_GELU
    known: dict[str, Activation] = {
        "swish": "silu",
        "relu": "relu",
        "gelu": "gelu" if exact else "gelu_sigmoid",
    }
    found = known.get(options.text(name, "swish"))
    if found is None:
        raise _unsupported(options, name)
    return found


def _autoregression(options: Settings) -> Autoregression:
    name = options.text("transformer-decoder-autoreg", "self-attention")
    if name not in _AUTOREGRESSIONS:
        raise _unsupported(options, "transformer-decoder-autoreg")
    if name == "rnn":
        if options.text("dec-cell", "gru") != "ssru":
            raise _unsupported(options, "dec-cell")
        if options.flag("layer-normalization", False):
            raise _unsupported(options, "layer-normalization")
    return _AUTOREGRESSIONS[name]


def _average(options: Settings, d_model: int, position: NormPosition) -> AverageSpec:
    """Without a change of width, Marian leaves the last layer out, but not its activation."""
    if position == "pre":
        raise UnsupportedModelError(
            f"{options.path}: average-attention with a norm before it (transformer-preprocess) is "
            "not supported: Marian averages what is not normalised"
        )
    return AverageSpec(
        num_layers=_depth(
            options, "transformer-aan-depth", options.integer("transformer-aan-depth", 2)
        ),
        width=options.integer("transformer-dim-aan", 2048, minimum=1),
        activation=_activation(options, "transformer-aan-activation"),
        gated=not options.flag("transformer-aan-nogate", False),
    )


def _tied_layers(options: Settings, num_layers: int) -> tuple[int, ...]:
    layers = options.get("transformer-tied-layers") or list(range(1, num_layers + 1))
    if (
        not isinstance(layers, list)
        or len(layers) != num_layers
        or not all(type(layer) is int and 0 < layer <= num_layers for layer in layers)
    ):
        raise options.error("transformer-tied-layers", f"{num_layers} numbers of layers")
    return tuple(layers)
