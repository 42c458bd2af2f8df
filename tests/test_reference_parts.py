"""The parts of the reference's decoders against a few lines of PyTorch, written from the papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

import reference
from pytransformer.model_spec import NO_TOKEN, AverageSpec, Checkpoint, DistanceSpec, PositionSpec
from random_models import decoder_spec, model_spec, random_checkpoint, stack
from reference_model import ReferenceModel

SOURCE = [3, 17, 60, 4, 4, 9, 1, 33, 12, 0]
TARGET = [60, 5, 31, 31, 2, 8, 44]

# Of PyTorch, or by their names in transformers.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": ACT2FN["gelu_pytorch_tanh"],
    "gelu_sigmoid": ACT2FN["quick_gelu"],
    "silu": functional.silu,
    "tanh": torch.tanh,
}


def assert_close(ours: npt.NDArray[np.float64], expected: Tensor) -> None:
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-9, atol=1e-10)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class TorchDecoder:
    """A decoder alone, as the papers of its parts describe it, token after token."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._spec = checkpoint.model.decoder
        self._tensors = {
            name: torch.tensor(t, dtype=torch.float64) for name, t in checkpoint.tensors.items()
        }

    def logits(self, target: list[int]) -> Tensor:
        table = self._tensors["decoder.embedding.weight"]
        zeros = torch.zeros(self._spec.d_model)
        x = torch.stack([zeros if i == NO_TOKEN else table[i] for i in target])
        x = x * self._spec.embedding_scale
        first, sublayer = {
            "self_attention": ("self_attention", self.attention),
            "ssru": ("ssru", self.ssru),
            "average_attention": ("average", self.average),
        }[self._spec.autoregression]
        for i in range(self._spec.num_layers):
            x = self.residual(f"decoder.layers.{i}.{first}", x, sublayer)
            x = self.residual(f"decoder.layers.{i}.feed_forward", x, self.feed_forward)
        return functional.linear(x, table, self._tensors.get("output.bias"))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(
            x, self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias")
        )

    def residual(self, name: str, x: Tensor, sublayer: Callable[[str, Tensor], Tensor]) -> Tensor:
        if self._spec.norm_position == "none":
            return x + sublayer(name, x)
        if self._spec.norm_position == "pre":
            return x + sublayer(name, self.norm(f"{name}.norm", x))
        return self.norm(f"{name}.norm", x + sublayer(name, x))

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias")
        epsilon = self._spec.norm_epsilon
        if self._spec.norm == "layer":
            return functional.layer_norm(x, [self._spec.d_model], weight, bias, epsilon)
        if self._spec.norm == "rms":
            return functional.rms_norm(x, [self._spec.d_model], weight, epsilon)
        y = weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + epsilon)
        return y if bias is None else y + bias

    def attention(self, name: str, x: Tensor) -> Tensor:
        """Shaw et al. 2018, equations 3 and 4, at most 2 tokens away."""
        spec = self._spec
        query, key, value = (
            self.linear(f"{name}.{part}", x).unflatten(1, (spec.num_heads, spec.head_dim))
            for part in ("query", "key", "value")
        )
        keys = self._tensors.get(f"{name}.distances.keys", torch.zeros(5, spec.head_dim))
        values = self._tensors.get(f"{name}.distances.values", torch.zeros(5, spec.head_dim))
        out = torch.zeros(len(x), spec.num_heads, spec.head_dim)
        for i in range(len(x)):
            near = [min(max(j - i, -2), 2) + 2 for j in range(i + 1)]
            for h in range(spec.num_heads):
                scores = (key[: i + 1, h] + keys[near]) @ query[i, h] * spec.attention_scale
                out[i, h] = scores.softmax(0) @ (value[: i + 1, h] + values[near])
        return self.output(f"{name}.output", out.flatten(1))

    def ssru(self, name: str, x: Tensor) -> Tensor:
        """Kim et al. 2019, section 2.1."""
        state, out = torch.zeros(self._spec.d_model), []
        for row in x:
            forget = torch.sigmoid(self.linear(f"{name}.forget", row))
            state = forget * state + (1 - forget) * self.linear(f"{name}.input", row)
            out.append(torch.relu(state))
        return self.output(f"{name}.output", torch.stack(out))

    def average(self, name: str, x: Tensor) -> Tensor:
        """Zhang et al. 2018, equations 1 to 4; each gate has its own input, as in Marian."""
        spec = self._spec.average
        assert spec is not None
        out = []
        for i, row in enumerate(x):
            y = x[: i + 1].mean(0)
            for j in range(spec.num_layers):
                y = self.linear(f"{name}.layers.{j}", y)
                y = ACTIVATIONS[spec.activation](y) if j < spec.num_layers - 1 else y
            if spec.gated:
                forget = torch.sigmoid(self.linear(f"{name}.forget_gate", y))
                y = torch.sigmoid(self.linear(f"{name}.input_gate", row)) * row + forget * y
            out.append(y)
        return torch.stack(out)

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self._spec.activation]
        if self._spec.gated:
            x = activation(self.linear(f"{name}.gate", x)) * self.linear(f"{name}.up", x)
        else:
            x = activation(self.linear(f"{name}.up", x))
        for j in range(self._spec.feed_forward_depth - 2):
            x = activation(self.linear(f"{name}.middle.{j}", x))
        return self.linear(f"{name}.down", x)

    def output(self, name: str, x: Tensor) -> Tensor:
        return self.linear(name, x) if f"{name}.weight" in self._tensors else x


PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rms": {"norm": "rms"},
    "deviation": {"norm": "deviation"},
    "deviation-epsilon": {"norm": "deviation", "norm_epsilon": 0.3, "norm_position": "pre"},
    "no-norms": {"norm_position": "none"},
    "gated": {"gated": True, "activation": "gelu_sigmoid"},
    "tanh": {"activation": "tanh"},
    "deep": {"feed_forward_depth": 4},
    "vectors": {"distances": DistanceSpec("vectors", 2)},
    "ssru": {"autoregression": "ssru"},
    "ssru-pre-norm": {"autoregression": "ssru", "norm_position": "pre"},
    **{
        f"average-{layers}-{'gated' if gated else 'plain'}": {
            "autoregression": "average_attention",
            "average": AverageSpec(layers, 27, "relu", gated),
        }
        for layers in (0, 1, 2, 3)
        for gated in (False, True)
    },
}


@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("part", PARTS)
def test_parts_of_a_decoder(part: str, identity: bool) -> None:
    """Also without the linear layer behind attention, and without some biases."""
    spec = decoder_spec(stack(**{"positions": PositionSpec("none", 70), **PARTS[part]}))
    without = ("self_attention.output", "ssru.output") if identity else ()
    checkpoint = random_checkpoint(spec, 4, bias_share=0.5, without=without)
    target = [NO_TOKEN, *TARGET]
    model, peer = ReferenceModel(checkpoint), TorchDecoder(checkpoint)
    assert_close(model.logits([], target), peer.logits(target))


def test_absent_start_token_has_a_position() -> None:
    """It is as a token whose embedding is zero."""
    checkpoint = random_checkpoint(model_spec(tied_output=False))
    checkpoint.tensors["shared.embedding.weight"][7] = 0
    model = ReferenceModel(checkpoint)
    expected = torch.tensor(model.logits(SOURCE, [7, *TARGET]))
    assert_close(model.logits(SOURCE, [NO_TOKEN, *TARGET]), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = torch.linspace(-9, 9, 181)
    assert_close(reference.activation(name, x), ACTIVATIONS[name](x))
