"""Where the time goes, stage by stage, and how near each stage comes to the machine's limits.

Operations are the multiplications and additions of matrix products and of attention; padding is
not counted. Bytes are those that must be read anew: the weights, once in each pass of the encoder
and in each step of the decoder, and the keys and values that the decoder keeps (float32). Biases,
norms and what one layer hands to the next are small beside them, or never leave the caches, and are
left out.

A stage cannot be faster than its floor: the time to read its bytes, or to do its operations at the
peak of its number format, whichever is longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytransformer.benchmark.machine import Machine
from pytransformer.model_spec import ModelSpec, StackSpec

# The scales of a block are part of its int4 weights.
BYTES_PER_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5625}

# What the profile's counters are called, and how a reader knows the stages.
MEASURED = ("encoder", "decoder", "attention", "output", "search")
REST = "rest"

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Weights:
    """How many weights the matrices of each stage have."""

    encoder: int
    decoder: int
    output: int

    def size_bytes(self, compute_type: str) -> int:
        """The size of all of them, each kept in this number format."""
        return round((self.encoder + self.decoder + self.output) * BYTES_PER_WEIGHT[compute_type])


@dataclass(frozen=True)
class Work:
    """What a stage had to do; `number_format` is that of its products."""

    operations: float
    bytes: float
    number_format: str


@dataclass(frozen=True)
class Stage:
    """One stage of the run.

    Attributes:
        name: one of MEASURED, or REST.
        seconds: how long it took.
        share: of the time of the whole run; the shares of all stages add up to 1.
        work: what it had to do; None where nothing is counted.
        floor_seconds: how long the machine needs for it at least; None without work.
    """

    name: str
    seconds: float
    share: float
    work: Work | None = None
    floor_seconds: float | None = None

    @property
    def gops(self) -> float | None:
        """10^9 operations a second."""
        return _rate(self.work.operations, self.seconds) if self.work else None

    @property
    def gbps(self) -> float | None:
        """10^9 bytes a second."""
        return _rate(self.work.bytes, self.seconds) if self.work else None

    @property
    def operations_per_byte(self) -> float | None:
        """None where no bytes are counted."""
        return self.work.operations / self.work.bytes if self.work and self.work.bytes else None

    @property
    def reached(self) -> float | None:
        """The floor's share of the time: 1 is what the machine can do."""
        if self.floor_seconds is None or self.seconds <= 0:
            return None
        return self.floor_seconds / self.seconds


def weights(spec: ModelSpec) -> Weights:
    """Counts them; keys and values of the cross-attention are computed by the encoder's pass."""
    encoder, decoder = spec.encoder, spec.decoder
    heads = _heads_width(decoder)
    cross_keys_and_values = decoder.num_layers * 2 * encoder.d_model * heads
    cross_query_and_output = decoder.num_layers * 2 * decoder.d_model * heads
    return Weights(
        encoder=_layers(encoder) + cross_keys_and_values,
        decoder=_layers(decoder) + cross_query_and_output,
        output=decoder.vocab_size * decoder.d_model,
    )


def work(spec: ModelSpec, compute_type: str, counts: Mapping[str, float]) -> dict[str, Work]:
    """What the stages had to do, from the profile's counts."""
    size = weights(spec)
    per_weight = BYTES_PER_WEIGHT[compute_type]
    steps, rows = counts["steps"], counts["step_rows"]
    return {
        "encoder": Work(
            2 * size.encoder * counts["encoder_rows"],
            size.encoder * counts["encoder_passes"] * per_weight,
            compute_type,
        ),
        "decoder": Work(2 * size.decoder * rows, size.decoder * steps * per_weight, compute_type),
        "attention": _attention(spec, counts),
        "output": Work(2 * size.output * rows, size.output * steps * per_weight, compute_type),
    }


def analyse(
    spec: ModelSpec,
    compute_type: str,
    machine: Machine,
    profile: Mapping[str, float],
    wall_seconds: float,
) -> list[Stage]:
    """The stages of a run that took `wall_seconds`, the rest (Python, waiting) as the last one.

    Args:
        spec: the model's architecture.
        compute_type: the number format of its weights.
        machine: limits of as many threads as the run had.
        profile: the engine's counters over the run.
        wall_seconds: how long all calls of the run took together.
    """
    seconds = {name: profile[f"{name}_seconds"] for name in MEASURED}
    total = max(wall_seconds, sum(seconds.values()))
    seconds[REST] = total - sum(seconds.values())
    todo = work(spec, compute_type, profile)
    stages = []
    for name, taken in seconds.items():
        share = taken / total if total > 0 else 0.0
        item = todo.get(name)
        stages.append(Stage(name, taken, share, item, floor_seconds(item, machine)))
    return stages


def whole(stages: list[Stage], compute_type: str) -> Stage:
    """All stages as one; its floor is the sum of theirs."""
    items = [stage.work for stage in stages if stage.work]
    floors = [stage.floor_seconds for stage in stages if stage.floor_seconds is not None]
    total = Work(
        sum(item.operations for item in items), sum(item.bytes for item in items), compute_type
    )
    return Stage("all", sum(stage.seconds for stage in stages), 1.0, total, sum(floors))


def floor_seconds(item: Work | None, machine: Machine) -> float | None:
    """The least time for some work.

    Between two uses of the same bytes all weights are read once, so nothing is read faster than
    these are: from the same place, be it memory or a cache.
    """
    if item is None:
        return None
    reading = 1e-9 * item.bytes / machine.weights_gbps
    computing = 1e-9 * item.operations / machine.peak(item.number_format)
    return max(reading, computing)


def _attention(spec: ModelSpec, counts: Mapping[str, float]) -> Work:
    """Every pair of a query and a key costs a product with the key and one with the value."""
    encoder, decoder = spec.encoder, spec.decoder
    decoder_width = decoder.num_layers * _heads_width(decoder)
    decoder_pairs = counts["self_attention_keys"] + counts["cross_attention_keys"]
    operations = 4 * (
        counts["encoder_attention_pairs"] * encoder.num_layers * _heads_width(encoder)
        + decoder_pairs * decoder_width
    )
    # The beams of a sentence read the keys and values of its source once, together.
    kept = counts["self_attention_keys"] + counts["cross_attention_sentences_keys"]
    return Work(operations, 2 * _FLOAT_BYTES * kept * decoder_width, "float32")


def _layers(stack: StackSpec) -> int:
    """Weights of self-attention and feed-forward in all layers."""
    attention = 4 * stack.d_model * _heads_width(stack)
    return stack.num_layers * (attention + 2 * stack.d_model * stack.d_ff)


def _heads_width(stack: StackSpec) -> int:
    return stack.num_heads * stack.head_dim


def _rate(amount: float, seconds: float) -> float | None:
    return 1e-9 * amount / seconds if seconds > 0 else None
