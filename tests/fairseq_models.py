"""fairseq's Transformer, written anew from its formulas, with the names of its state dict."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torch_fixtures import randomise

SOURCE = [f"w{i}" for i in range(11)]
TARGET = [*"abcdefghijklm"]
SIZES = len(SOURCE) + 4, len(TARGET) + 4
FIRST_POSITION = 2

OPTIONS: dict[str, Any] = {
    "arch": "transformer_iwslt_de_en",
    "task": "translation",
    "source_lang": "de",
    "target_lang": "en",
    "encoder_embed_dim": 16,
    "decoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 20,
    "decoder_ffn_embed_dim": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_normalize_before": False,
    "decoder_normalize_before": False,
    "encoder_learned_pos": False,
    "decoder_learned_pos": False,
    "max_source_positions": 50,
    "max_target_positions": 40,
    "share_decoder_input_output_embed": False,
    "share_all_embeddings": False,
    "layernorm_embedding": False,
    "no_scale_embedding": False,
    "no_token_positional_embeddings": False,
    "activation_fn": "relu",
    "adaptive_softmax_cutoff": None,
    "adaptive_input": False,
    "cross_self_attention": False,
    "no_cross_attention": False,
    "decoder_input_dim": 16,
    "decoder_output_dim": 16,
}

ACTIVATIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_accurate": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_fast": lambda x: functional.gelu(x, approximate="tanh"),
    "swish": functional.silu,
    "tanh": torch.tanh,
}


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, states_width: int) -> None:
        super().__init__()
        self.k_proj = nn.Linear(states_width, width)
        self.v_proj = nn.Linear(states_width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self._heads = heads

    def forward(self, x: Tensor, states: Tensor, *, causal: bool = False) -> Tensor:
        query, key, value = (
            layer(inputs).view(len(inputs), self._heads, -1).transpose(0, 1)
            for layer, inputs in ((self.q_proj, x), (self.k_proj, states), (self.v_proj, states))
        )
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(1, 2)
        if causal:
            later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        return self.out_proj((scores.softmax(-1) @ value).transpose(0, 1).flatten(1))


class Layer(nn.Module):
    def __init__(self, options: argparse.Namespace, side: str) -> None:
        super().__init__()
        width = getattr(options, f"{side}_embed_dim")
        inner = getattr(options, f"{side}_ffn_embed_dim")
        heads = getattr(options, f"{side}_attention_heads")
        self._is_pre_norm = getattr(options, f"{side}_normalize_before")
        self.self_attn = Attention(width, heads, width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        if side == "decoder":
            self.encoder_attn = Attention(width, heads, options.encoder_embed_dim)
            self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self._activation = ACTIVATIONS[options.activation_fn]

    def forward(self, x: Tensor, states: Tensor | None = None) -> Tensor:
        causal = states is not None
        x = self._add(x, self.self_attn_layer_norm, lambda y: self.self_attn(y, y, causal=causal))
        if states is not None:
            norm = self.encoder_attn_layer_norm
            x = self._add(x, norm, lambda y: self.encoder_attn(y, states))
        return self._add(
            x, self.final_layer_norm, lambda y: self.fc2(self._activation(self.fc1(y)))
        )

    def _add(self, x: Tensor, norm: nn.Module, sublayer: Any) -> Tensor:
        return x + sublayer(norm(x)) if self._is_pre_norm else norm(x + sublayer(x))


class Stack(nn.Module):
    def __init__(self, options: argparse.Namespace, side: str, size: int) -> None:
        super().__init__()
        self._width = width = getattr(options, f"{side}_embed_dim")
        self.register_buffer("version", torch.tensor([3.0]))
        self.embed_tokens = nn.Embedding(size, width)
        self._scale = 1.0 if options.no_scale_embedding else math.sqrt(width)
        self._has_positions = not options.no_token_positional_embeddings
        name = {"encoder": "source", "decoder": "target"}[side]
        if self._has_positions and getattr(options, f"{side}_learned_pos"):
            rows = getattr(options, f"max_{name}_positions") + FIRST_POSITION
            self.embed_positions = nn.Embedding(rows, width)
        elif self._has_positions:
            self.embed_positions = nn.Module()
            self.embed_positions.register_buffer("_float_tensor", torch.zeros(1))
        count = getattr(options, f"{side}_layers")
        self.layers = nn.ModuleList([Layer(options, side) for _ in range(count)])
        if getattr(options, f"{side}_normalize_before"):
            self.layer_norm = nn.LayerNorm(width)
        if options.layernorm_embedding:
            self.layernorm_embedding = nn.LayerNorm(width)

    def forward(self, ids: Sequence[int], *states: Tensor) -> Tensor:
        x = self._scale * self.embed_tokens(torch.tensor(ids))
        if self._has_positions:
            x = x + self._positions(len(ids))
        if hasattr(self, "layernorm_embedding"):
            x = self.layernorm_embedding(x)
        for layer in self.layers:
            x = layer(x, *states)
        return self.layer_norm(x) if hasattr(self, "layer_norm") else x

    def _positions(self, count: int) -> Tensor:
        places = torch.arange(FIRST_POSITION, FIRST_POSITION + count)
        if isinstance(self.embed_positions, nn.Embedding):
            return self.embed_positions(places)
        half = self._width // 2
        rates = torch.exp(-torch.arange(half) * math.log(10000) / (half - 1))
        return torch.cat(
            [torch.sin(places[:, None] * rates), torch.cos(places[:, None] * rates)], 1
        )


class Fairseq(nn.Module):
    """A model with random weights; `changes` are options."""

    def __init__(self, sizes: tuple[int, int] = SIZES, **changes: Any) -> None:
        super().__init__()
        self.options = options = argparse.Namespace(**{**OPTIONS, **changes})
        self.encoder = Stack(options, "encoder", sizes[0])
        self.decoder = Stack(options, "decoder", sizes[1])
        if options.share_all_embeddings:
            self.decoder.embed_tokens = self.encoder.embed_tokens
        projection = nn.Linear(options.decoder_embed_dim, sizes[1], bias=False)
        self.decoder.output_projection = projection
        randomise(self)
        if options.share_decoder_input_output_embed or options.share_all_embeddings:
            projection.weight = self.decoder.embed_tokens.weight

    def forward(self, source: list[int], target: list[int]) -> Tensor:
        return self.decoder.output_projection(self.decoder(target, self.encoder(source)))

    def checkpoint(self, state: dict[str, Tensor] | None = None) -> dict[str, Any]:
        """What fairseq 0.12 saves."""
        configuration = {
            "_name": None,
            "common": {"_name": None, "seed": 3, "big": 2**63 - 1},
            "model": argparse.Namespace(**vars(self.options)),
            "task": {"_name": "translation", "source_lang": "de", "target_lang": "en"},
            "bpe": None,
            "tokenizer": None,
        }
        return {
            "args": None,
            "cfg": configuration,
            "model": self.state_dict() if state is None else state,
            "criterion": None,
            "optimizer_history": [{"num_updates": 300, "lr_scheduler_state": {"best": None}}],
            "task_state": {},
            "extra_state": {"metrics": {"loss": torch.ones(())}},
        }


def write_dictionaries(folder: Path) -> None:
    for language, tokens in (("de", SOURCE), ("en", TARGET)):
        lines = (f"{token} {9 - i}\n" for i, token in enumerate(tokens))
        (folder / f"dict.{language}.txt").write_text("".join(lines))
