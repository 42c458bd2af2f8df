"""Small models with random weights, straight from NumPy, and engines that run them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pytransformer import _native, native
from pytransformer.model_spec import (
    NO_STACK,
    AverageSpec,
    Checkpoint,
    DistanceSpec,
    GenerationSpec,
    HeadSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
    TokenizerSpec,
)

Shape = tuple[int, ...]
Hypotheses = list[tuple[list[int], float]]

END = 0


class Kind(NamedTuple):
    """A kind of lively models: what it changes of both stacks, of the decoder, and `end_bias`."""

    both: dict[str, Any]
    decoder: dict[str, Any]
    end_bias: float


LIVELY: dict[str, Kind] = {
    "plain": Kind({}, {}, 2.0),
    "biases": Kind({"norm": "rms", "gated": True, "distances": DistanceSpec("bias", 6)}, {}, 4.0),
    "vectors": Kind(
        {"norm": "deviation", "embedding_norm": True, "distances": DistanceSpec("vectors", 6)},
        {},
        5.0,
    ),
    "rotary": Kind({"feed_forward_depth": 3, "distances": DistanceSpec("rotary")}, {}, 4.0),
    "ssru": Kind({"activation": "tanh"}, {"autoregression": "ssru"}, 2.0),
    "average": Kind(
        {"activation": "gelu_sigmoid"},
        {"autoregression": "average_attention", "average": AverageSpec(2, 70, "relu", True)},
        5.0,
    ),
}


def stack(**changes: Any) -> StackSpec:
    """A stack whose widths are odd, each in its own way, with single values changed."""
    values: dict[str, Any] = {
        "num_layers": 2,
        "d_model": 20,
        "num_heads": 2,
        "head_dim": 10,
        "d_ff": 37,
        "vocab_size": 61,
        "activation": "relu",
        "norm_position": "post",
        "final_norm": False,
        "embedding_norm": False,
        "embedding_scale": 20**0.5,
        "attention_scale": 10**-0.5,
        "norm_epsilon": 1e-5,
        "positions": PositionSpec("sinusoidal", 70),
    }
    return StackSpec(**{**values, **changes})


def model_spec(**changes: Any) -> ModelSpec:
    """Both stacks alike, one embedding for everything, with single values changed."""
    values: dict[str, Any] = {"shared_embedding": True, "tied_output": True}
    for side in ("encoder", "decoder"):
        values[side] = changes.pop(side, None) or stack()
    return ModelSpec(**{**values, **changes})


def encoder_spec(encoder: StackSpec, head: HeadSpec | None = None) -> ModelSpec:
    """An encoder alone."""
    return ModelSpec(encoder, NO_STACK, False, False, "encoder", head)


def decoder_spec(decoder: StackSpec, *, tied_output: bool = True) -> ModelSpec:
    """A decoder alone."""
    return ModelSpec(NO_STACK, decoder, False, tied_output, "decoder")


def random_checkpoint(
    model: ModelSpec,
    seed: int = 0,
    *,
    bias_share: float = 1.0,
    end_bias: float = 0.0,
    without: Collection[str] = (),
) -> Checkpoint:
    """Random weights for an architecture.

    Their size makes the distribution over tokens peaked, as a trained model's is. A bias is there
    with the probability `bias_share`; `end_bias` is added to the end token's logit. `without` names
    linear layers that are absent in all layers, as "self_attention.output" may be.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in _shapes(model):
        if any(f".{layer}." in name for layer in without) or _drops_bias(rng, name, bias_share):
            continue
        tensors[name] = _values(rng, name, shape)
    if end_bias:
        bias = tensors.setdefault("output.bias", np.zeros(model.decoder.vocab_size, np.float32))
        bias[END] += end_bias
    generation = GenerationSpec(
        decoder_start_token_id=model.decoder.vocab_size - 1,
        end_token_id=END,
        forced_end_token_id=END,
        suppress_token_ids=(),
        max_decoding_length=40,
    )
    return Checkpoint("test", model, generation, TokenizerSpec("none", {}), tensors, {})


def lively_checkpoint(seed: int = 0, vocab_size: int = 61, kind: str = "plain") -> Checkpoint:
    """A model whose translations differ, wander through the vocabulary and often end themselves.

    Its last token starts a translation; sources have up to 70 tokens. `kind` is one of LIVELY.
    """
    values: dict[str, Any] = {
        "d_model": 48,
        "num_heads": 3,
        "head_dim": 16,
        "d_ff": 100,
        "vocab_size": vocab_size,
        "embedding_scale": 48**0.5,
        "attention_scale": 1.0,
        "positions": PositionSpec("learned", 70),
    }
    both, only_decoder, end_bias = LIVELY[kind]
    encoder, decoder = stack(**values, **both), stack(**values, **both, **only_decoder)
    model = model_spec(encoder=encoder, decoder=decoder)
    return random_checkpoint(model, seed, end_bias=end_bias)


def make_engine(
    checkpoint: Checkpoint, inter_threads: int = 1, intra_threads: int = 1, isa: str = ""
) -> _native.Engine:
    """An engine over the checkpoint's native image."""
    model = _native.Model.from_buffer(native.build_image(checkpoint), "test")
    return _native.Engine(model, inter_threads, intra_threads, isa)


def search_options(start: int, **changes: Any) -> _native.SearchOptions:
    """Greedy search up to a forced end token after 40 others, with single values changed."""
    values: dict[str, Any] = {
        "beam_size": 1,
        "num_hypotheses": 1,
        "length_penalty": 1.0,
        "early_stopping": 0,
        "max_decoding_length": 40,
        "min_decoding_length": 0,
        "return_scores": True,
        "decoder_start_token_id": start,
        "end_token_ids": [END],
        "forced_end_token_id": END,
        "suppress_token_ids": [],
        "max_batch_size": 64,
        "batch_by_tokens": False,
    }
    options = _native.SearchOptions()
    for name, value in {**values, **changes}.items():
        setattr(options, name, value)
    return options


def run_search(
    engine: _native.Engine, sources: Sequence[Sequence[int]], options: _native.SearchOptions
) -> list[Hypotheses]:
    """The ids and score of each hypothesis of each source (ids with the end token)."""
    job = engine.submit([_native.Request(source) for source in sources], options)
    return [[(found.ids, found.score) for found in hypotheses] for hypotheses in job.result()]


def sentences(count: int, vocab_size: int, least: int, most: int, seed: int = 0) -> list[list[int]]:
    """Random sources of `least` to `most` tokens, the end token included."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(least, most + 1, size=count)
    return [[*rng.integers(1, vocab_size, size=n - 1).tolist(), END] for n in lengths]


def _shapes(model: ModelSpec) -> Iterator[tuple[str, Shape]]:
    """Canonical name and shape of every tensor that the architecture may have."""
    sides = [("encoder", model.encoder), ("decoder", model.decoder)]
    if model.architecture != "encoder_decoder":
        sides = [(side, spec) for side, spec in sides if side == model.architecture]
    if model.shared_embedding:
        yield "shared.embedding.weight", (model.encoder.vocab_size, model.encoder.d_model)
    for side, spec in sides:
        if spec.vector_size:
            yield from _linear(f"{side}.vectors", spec.d_model, spec.vector_size)
        elif not model.shared_embedding:
            yield f"{side}.embedding.weight", (spec.vocab_size, spec.d_model)
        if spec.embedding_norm:
            yield from _norm(f"{side}.embedding.norm", spec)
        if spec.positions.kind == "learned":
            rows = spec.positions.offset + spec.positions.segments * spec.positions.max_length
            yield f"{side}.positions.weight", (rows, spec.d_model)
        for i in range(spec.num_layers):
            yield from _layer(f"{side}.layers.{i}", side, spec, model)
        if spec.final_norm:
            yield from _norm(f"{side}.norm", spec)
    if model.head is not None:
        yield from _head(model.head, model.encoder.d_model)
    if model.architecture == "encoder":
        return
    if not model.tied_output:
        yield "output.weight", (model.decoder.vocab_size, model.decoder.d_model)
    yield "output.bias", (model.decoder.vocab_size,)


def _head(head: HeadSpec, d_model: int) -> Iterator[tuple[str, Shape]]:
    if head.pooler_size:
        yield from _linear("pooler", head.pooler_size, d_model)
    if head.labels:
        yield from _linear("classifier", len(head.labels), head.pooler_size or d_model)


def _layer(layer: str, side: str, spec: StackSpec, model: ModelSpec) -> Iterator[tuple[str, Shape]]:
    sublayer = "self_attention" if side == "encoder" else spec.autoregression
    if sublayer == "self_attention":
        yield from _attention(f"{layer}.self_attention", spec, spec.d_model)
        yield from _distances(f"{layer}.self_attention.distances", spec)
    elif sublayer == "ssru":
        for name in ("input", "forget", "output"):
            yield from _linear(f"{layer}.ssru.{name}", spec.d_model, spec.d_model)
        yield from _layer_norm(f"{layer}.ssru.norm", spec)
    else:
        assert spec.average is not None
        yield from _average(f"{layer}.average", spec, spec.average)
    if side == "decoder" and model.architecture == "encoder_decoder":
        yield from _attention(f"{layer}.cross_attention", spec, model.encoder.d_model)
    yield from _feed_forward(f"{layer}.feed_forward", spec)


def _attention(name: str, spec: StackSpec, source_width: int) -> Iterator[tuple[str, Shape]]:
    width = spec.num_heads * spec.head_dim
    yield from _linear(f"{name}.query", width, spec.d_model)
    yield from _linear(f"{name}.key", width, source_width)
    yield from _linear(f"{name}.value", width, source_width)
    yield from _linear(f"{name}.output", spec.d_model, width)
    yield from _layer_norm(f"{name}.norm", spec)


def _distances(name: str, spec: StackSpec) -> Iterator[tuple[str, Shape]]:
    if spec.distances is None:
        return
    columns = 2 * spec.distances.max_distance + 1
    if spec.distances.kind == "bias":
        yield f"{name}.bias", (spec.num_heads, columns)
    elif spec.distances.kind == "vectors":
        yield f"{name}.keys", (columns, spec.head_dim)
        yield f"{name}.values", (columns, spec.head_dim)


def _average(name: str, spec: StackSpec, average: AverageSpec) -> Iterator[tuple[str, Shape]]:
    between = [average.width] * (average.num_layers - 1)
    widths = zip([spec.d_model, *between], [*between, spec.d_model], strict=True)
    for j, (inputs, outputs) in enumerate(widths if average.num_layers else ()):
        yield from _linear(f"{name}.layers.{j}", outputs, inputs)
    if average.gated:
        yield from _linear(f"{name}.input_gate", spec.d_model, spec.d_model)
        yield from _linear(f"{name}.forget_gate", spec.d_model, spec.d_model)
    yield from _layer_norm(f"{name}.norm", spec)


def _feed_forward(name: str, spec: StackSpec) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{name}.up", spec.d_ff, spec.d_model)
    if spec.gated:
        yield from _linear(f"{name}.gate", spec.d_ff, spec.d_model)
    for j in range(spec.feed_forward_depth - 2):
        yield from _linear(f"{name}.middle.{j}", spec.d_ff, spec.d_ff)
    yield from _linear(f"{name}.down", spec.d_model, spec.d_ff)
    yield from _layer_norm(f"{name}.norm", spec)


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _layer_norm(name: str, spec: StackSpec) -> Iterator[tuple[str, Shape]]:
    if spec.norm_position != "none":
        yield from _norm(name, spec)


def _norm(name: str, spec: StackSpec) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (spec.d_model,)
    if spec.norm != "rms":
        yield f"{name}.bias", (spec.d_model,)


def _drops_bias(rng: np.random.Generator, name: str, share: float) -> bool:
    if not name.endswith(".bias") or name.endswith("distances.bias"):
        return False
    # With all biases nothing is drawn for norms, whose biases once were always there: the models of
    # a seed stay what they are.
    drawn = share < 1 or not name.endswith("norm.bias")
    return drawn and rng.random() >= share


def _values(rng: np.random.Generator, name: str, shape: Shape) -> npt.NDArray[np.float32]:
    if name.endswith("norm.weight"):
        # Of both signs, or a token's embedding, kept by the residual stream, would vote for itself.
        sign = rng.choice([-1.0, 1.0], shape)
        return (sign * rng.normal(1.0, 0.2, shape)).astype(np.float32)
    if name.endswith("positions.weight"):
        scale = 2.0
    elif ".distances." in name:
        scale = 0.7
    elif name.endswith(("embedding.weight", "output.weight")):
        scale = 3.0 * shape[1] ** -0.5
    elif len(shape) == 2:
        scale = 0.5 * shape[1] ** -0.5
    else:
        scale = 0.05
    return rng.normal(0.0, scale, shape).astype(np.float32)
