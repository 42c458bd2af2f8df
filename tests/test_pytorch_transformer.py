"""The same logits as PyTorch's own Transformer layers, with the norms before and behind the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import reference
from pytransformer.model_spec import Checkpoint, ModelSpec, StackSpec
from random_models import make_engine, model_spec, random_checkpoint, sentences, stack

TOLERANCE = 1e-4  # of the root mean square of a row of logits

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
}


class PyTorchModel:
    """A checkpoint's weights in `nn.TransformerEncoder` and `nn.TransformerDecoder`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._spec = checkpoint.model
        self._tensors = {name: torch.from_numpy(t) for name, t in checkpoint.tensors.items()}
        encoder, decoder = self._spec.encoder, self._spec.decoder
        self._encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(*self._arguments(encoder), **self._options(encoder)),
            encoder.num_layers,
            nn.LayerNorm(encoder.d_model) if encoder.final_norm else None,
            enable_nested_tensor=False,
        )
        self._decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(*self._arguments(decoder), **self._options(decoder)),
            decoder.num_layers,
            nn.LayerNorm(decoder.d_model) if decoder.final_norm else None,
        )
        for side, module in (("encoder", self._encoder), ("decoder", self._decoder)):
            module.load_state_dict(dict(self._state(side, module.num_layers)))
            module.eval()

    @torch.inference_mode()
    def logits(self, source: list[int], target: list[int]) -> np.ndarray:
        states = self._encoder(self._embed(self._spec.encoder, source))
        mask = nn.Transformer.generate_square_subsequent_mask(len(target))
        out = self._decoder(self._embed(self._spec.decoder, target), states, tgt_mask=mask)
        weight = self._tensors["shared.embedding.weight"]
        return functional.linear(out, weight, self._tensors["output.bias"]).numpy()

    @staticmethod
    def _arguments(spec: StackSpec) -> tuple[int, int, int]:
        return spec.d_model, spec.num_heads, spec.d_ff

    @staticmethod
    def _options(spec: StackSpec) -> dict[str, object]:
        return {
            "activation": ACTIVATIONS[spec.activation],
            "norm_first": spec.norm_position == "pre",
            "layer_norm_eps": spec.norm_epsilon,
            "dropout": 0.0,
        }

    def _embed(self, spec: StackSpec, ids: list[int]) -> Tensor:
        table = reference.positional_encoding(len(ids), spec.d_model, interleaved=False)
        rows = self._tensors["shared.embedding.weight"][ids]
        return rows * spec.embedding_scale + torch.from_numpy(table).float()

    def _state(self, side: str, layers: int) -> Iterator[tuple[str, Tensor]]:
        """Their names, in layer after layer, for our tensors."""
        names = {
            "self_attn.out_proj": "self_attention.output",
            "norm1": "self_attention.norm",
            "linear1": "feed_forward.up",
            "linear2": "feed_forward.down",
            "norm2": "feed_forward.norm",
        }
        stacked = {"self_attn": "self_attention"}
        if side == "decoder":
            names |= {
                "multihead_attn.out_proj": "cross_attention.output",
                "norm2": "cross_attention.norm",
                "norm3": "feed_forward.norm",
            }
            stacked["multihead_attn"] = "cross_attention"
        for kind in ("weight", "bias"):
            for i in range(layers):
                ours = f"{side}.layers.{i}"
                for theirs, name in names.items():
                    yield f"layers.{i}.{theirs}.{kind}", self._tensors[f"{ours}.{name}.{kind}"]
                for theirs, name in stacked.items():
                    parts = (f"{ours}.{name}.{part}.{kind}" for part in ("query", "key", "value"))
                    joined = torch.cat([self._tensors[part] for part in parts])
                    yield f"layers.{i}.{theirs}.in_proj_{kind}", joined
            if f"{side}.norm.{kind}" in self._tensors:
                yield f"norm.{kind}", self._tensors[f"{side}.norm.{kind}"]


def odd_model(norm_position: str, activation: str, d_model: int) -> ModelSpec:
    """Heads of 10, feed-forward 37, vocabulary 1003, one encoder layer and three of the decoder."""
    encoder, decoder = (
        stack(
            d_model=d_model,
            num_heads=d_model // 10,
            vocab_size=1003,
            num_layers=layers,
            activation=activation,
            norm_position=norm_position,
            final_norm=norm_position == "pre",
            embedding_scale=d_model**0.5,
        )
        for layers in (1, 3)
    )
    return model_spec(encoder=encoder, decoder=decoder)


@pytest.mark.parametrize("d_model", [20, 50])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_logits(norm_position: str, activation: str, d_model: int) -> None:
    checkpoint = random_checkpoint(odd_model(norm_position, activation, d_model), seed=7)
    engine, model = make_engine(checkpoint), PyTorchModel(checkpoint)
    rng = np.random.default_rng(7)
    for source in sentences(6, 1003, 1, 60):
        target = rng.integers(0, 1003, int(rng.integers(1, 40))).tolist()
        ours, expected = engine.logits(source, target), model.logits(source, target)
        size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
        assert (np.abs(ours - expected) <= TOLERANCE * size).all()
