"""Whole models in every compute type against the NumPy reference with the same rounding.

Where the engine and the reference differ in the last bits of float32, a number that lies near a tie
may be rounded to either side, and whatever depends on it then differs by one step of the rounding.
So most of a small model's logits must agree to float32's precision, and all of them within what
rounding the activations makes of the exact ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from native_images import config_text
from pytransformer import _native, native
from pytransformer.model_spec import (
    AverageSpec,
    Checkpoint,
    DistanceSpec,
    ModelSpec,
    PositionSpec,
)
from pytransformer.native_entry import Entry, Matrix
from pytransformer.native_layout import entries
from random_models import lively_checkpoint, model_spec, random_checkpoint, sentences, stack
from reference_formats import COMPUTE_TYPES
from reference_model import ReferenceModel
from rounded_models import TypeOf, rounded_checkpoint, rounding_model, type_everywhere

Numbers = np.ndarray[Any, np.dtype[np.floating[Any]]]

# What float32 itself errs, of the root mean square of a row of logits or states.
TOLERANCE = 2e-5
# Times the error that the reference finds in its own rounding of activations.
MARGIN = 1.3

each_isa = pytest.mark.parametrize("isa", _native.supported_isas())
each_type = pytest.mark.parametrize("compute_type", COMPUTE_TYPES)


def both(**changes: Any) -> ModelSpec:
    same = stack(**changes)
    return model_spec(encoder=same, decoder=same)


SPECS = {
    "plain": both(),
    "pre-norm": both(norm_position="pre", final_norm=True, activation="gelu", d_model=50, d_ff=33),
    "heads-of-33": both(head_dim=33, num_heads=3, d_model=70, d_ff=130),
    "embedding-norm": both(embedding_norm=True, embedding_scale=1.0, activation="silu"),
    "gated-rms-biases": both(
        norm="rms", gated=True, activation="gelu_sigmoid", distances=DistanceSpec("bias", 9)
    ),
    "deviation-vectors": both(norm="deviation", distances=DistanceSpec("vectors", 9)),
    "rotary-deep": both(
        norm_position="pre", feed_forward_depth=3, distances=DistanceSpec("rotary"), d_ff=70
    ),
    "ssru": model_spec(decoder=stack(autoregression="ssru", activation="tanh")),
    "average": model_spec(
        decoder=stack(autoregression="average_attention", average=AverageSpec(2, 70, "relu", True))
    ),
    "everything-separate": model_spec(
        encoder=stack(d_model=40, positions=PositionSpec("learned", 70)),
        shared_embedding=False,
        tied_output=False,
    ),
}


def mixed(name: str) -> str:
    """Every type somewhere, by the names of a checkpoint or of a native file."""
    if "embedding" in name:
        return "int8"
    if "feed_forward" in name:
        return "int4"
    return "bfloat16" if "self_attention" in name else "float32"


def make_engine(checkpoint: Checkpoint, type_of: TypeOf, isa: str) -> _native.Engine:
    plan: list[Entry] = [
        item.stored_as(type_of(item.name)) if isinstance(item, Matrix) else item
        for item in entries(checkpoint.model, checkpoint.tensors)
    ]
    image = native.assemble(config_text(native.build_image(checkpoint)), plan)
    return _native.Engine(_native.Model.from_buffer(image, "rounded"), 1, 1, isa)


class Comparison:
    """States and logits of one checkpoint, by the engine and by the reference in two ways."""

    def __init__(
        self, checkpoint: Checkpoint, type_of: TypeOf, isa: str, seed: int, cache_type: str
    ) -> None:
        spec = checkpoint.model
        source = sentences(1, spec.encoder.vocab_size, 10, 40, seed)[0]
        target = np.random.default_rng(seed).integers(0, spec.decoder.vocab_size, 19).tolist()

        def both_of(model: _native.Engine | ReferenceModel) -> list[Numbers]:
            return [model.encode(source), model.logits(source, target)]

        self.exact = both_of(ReferenceModel(rounded_checkpoint(checkpoint, type_of)))
        # Without fused multiply-add other numbers lie on ties.
        fused = isa != "portable"
        model = rounding_model(checkpoint, type_of, cache_type=cache_type, fused=fused)
        self.rounded = both_of(model)
        self.found = both_of(make_engine(checkpoint, type_of, isa))

    def errors(self, of: list[Numbers], against: list[Numbers]) -> list[Numbers]:
        """For each row of states and of logits, relative to the row's size."""
        return [
            np.sqrt(((a - b) ** 2).mean(axis=1) / (size**2).mean(axis=1))
            for a, b, size in zip(of, against, self.exact, strict=True)
        ]

    def check_bound(self) -> None:
        """The engine errs no more than rounding itself does."""
        found = self.errors(self.found, self.exact)
        noise = self.errors(self.rounded, self.exact)
        for ours, expected in zip(found, noise, strict=True):
            assert ours.shape == expected.shape
            assert rms(ours) <= MARGIN * rms(expected) + TOLERANCE
            assert ours.max() <= 2 * MARGIN * expected.max() + TOLERANCE

    def share_that_agrees(self) -> float:
        """Rows that differ from the rounding reference no more than float32 errs."""
        rows = np.concatenate(self.errors(self.found, self.rounded))
        return float((rows <= TOLERANCE).mean())


def rms(errors: Numbers) -> float:
    return float(np.sqrt((errors**2).mean()))


def compare(checkpoint: Checkpoint, compute_type: str, isa: str, seed: int) -> Comparison:
    """All matrices of one type."""
    cache_type = "float32" if compute_type == "float32" else "bfloat16"
    return Comparison(checkpoint, type_everywhere(compute_type), isa, seed, cache_type)


@each_isa
@each_type
@pytest.mark.parametrize("case", SPECS)
def test_errors_are_those_of_rounding(case: str, compute_type: str, isa: str) -> None:
    compare(random_checkpoint(SPECS[case], 3), compute_type, isa, 5).check_bound()


@each_isa
@each_type
def test_rounding_is_the_references(compute_type: str, isa: str) -> None:
    """Small models, in which few numbers lie near a tie."""
    shares = []
    for seed in range(8):
        spec = both(
            num_layers=1,
            norm_position="pre" if seed % 2 else "post",
            d_model=50,
            num_heads=3,
            head_dim=10 + seed,
            d_ff=70,
        )
        comparison = compare(random_checkpoint(spec, seed), compute_type, isa, seed)
        comparison.check_bound()
        shares.append(comparison.share_that_agrees())
        if compute_type != "float32":  # or the comparison would say nothing of rounding
            noise = np.concatenate(comparison.errors(comparison.rounded, comparison.exact))
            assert noise.min() > 5 * TOLERANCE
    assert np.mean(shares) >= (1.0 if compute_type == "float32" else 0.9)


@each_isa
def test_types_side_by_side(isa: str) -> None:
    """Each product takes activations as its own weights want them; most of the weights say what the
    caches are.
    """
    shares = []
    for seed in range(8):
        spec = both(num_layers=1, d_model=50, num_heads=3, head_dim=10 + seed, d_ff=120)
        # Their caches are bfloat16, since most weights are int4.
        comparison = Comparison(random_checkpoint(spec, seed), mixed, isa, seed, "bfloat16")
        comparison.check_bound()
        shares.append(comparison.share_that_agrees())
    assert np.mean(shares) >= 0.9


@each_type
def test_types_differ_by_their_precision(compute_type: str) -> None:
    """From the model in float32: nothing is rounded twice, or not at all."""
    checkpoint = lively_checkpoint()
    comparison = compare(checkpoint, compute_type, _native.supported_isas()[-1], 1)
    plain = compare(checkpoint, "float32", _native.supported_isas()[-1], 1)
    error = rms(plain.errors(comparison.found, plain.exact)[1])
    least, most = {
        "float32": (0, 1e-5),
        "bfloat16": (2e-3, 2e-2),
        "int8": (1e-2, 8e-2),
        "int4": (0.15, 0.8),
    }[compute_type]
    assert least <= error <= most


@pytest.mark.parametrize("compute_type", ["bfloat16", "int8", "int4"])
def test_padding_has_no_influence(compute_type: str) -> None:
    """Hidden units whose weights are zero, as those that fill up registers are."""
    small = both(d_model=48, num_heads=1, head_dim=16, d_ff=64)
    checkpoint = random_checkpoint(small, 1)
    wide = both(d_model=48, num_heads=1, head_dim=16, d_ff=80)
    widened = random_checkpoint(wide, 1)
    for name, tensor in checkpoint.tensors.items():
        target = np.zeros_like(widened.tensors[name])
        target[tuple(slice(0, n) for n in tensor.shape)] = tensor
        widened.tensors[name] = target
    source, target = sentences(1, 61, 20, 20)[0], [60, 3, 4, 5]
    isa = _native.supported_isas()[-1]
    logits = [
        make_engine(either, type_everywhere(compute_type), isa).logits(source, target)
        for either in (checkpoint, widened)
    ]
    np.testing.assert_array_equal(logits[0], logits[1])
