"""OpenNMT-py's Transformer, written anew from its formulas, with the names of its state dict."""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torch_fixtures import classes, instance, randomise

SOURCE = ["<unk>", "<blank>", "<s>", "</s>", *(f"▁{i}" for i in range(13))]
TARGET = ["<unk>", "<blank>", "<s>", "</s>", *"abcdefghijklmno"]
SOURCE_V2 = ["<unk>", "<blank>", *(f"▁{i}" for i in range(13))]

OPTIONS: dict[str, Any] = {
    "model_type": "text",
    "model_task": "seq2seq",
    "encoder_type": "transformer",
    "decoder_type": "transformer",
    "enc_layers": 1,
    "dec_layers": 2,
    "hidden_size": 16,
    "heads": 2,
    "transformer_ff": 20,
    "pos_ffn_activation_fn": "relu",
    "layer_norm": "standard",
    "norm_eps": 1e-6,
    "position_encoding": True,
    "position_encoding_type": "SinusoidalInterleaved",
    "max_relative_positions": 0,
    "relative_positions_buckets": 0,
    "rotary_interleave": False,
    "rotary_theta": 10000,
    "rotary_dim": 0,
    "num_kv": 0,
    "add_qkvbias": False,
    "add_ffnbias": False,
    "share_embeddings": False,
    "share_decoder_embeddings": False,
    "dropout": [0.1],
    "transforms": [],
    "_all_transform": set(),
    "self_attn_type": "scaled-dot-flash",
}


class RmsNorm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x / (x.square().mean(-1, keepdim=True) + self._epsilon).sqrt()


def norm(options: argparse.Namespace) -> nn.Module:
    kind = RmsNorm if options.layer_norm == "rms" else nn.LayerNorm
    return kind(options.hidden_size, options.norm_eps)


class Attention(nn.Module):
    def __init__(self, options: argparse.Namespace, *, sees_distance: bool, causal: bool) -> None:
        super().__init__()
        width, self._heads = options.hidden_size, options.heads
        self._size = width // self._heads
        kv_width = (options.num_kv or self._heads) * self._size
        bias = options.add_qkvbias
        self.linear_keys = nn.Linear(width, kv_width, bias)
        self.linear_values = nn.Linear(width, kv_width, bias)
        self.linear_query = nn.Linear(width, width, bias)
        self.final_linear = nn.Linear(width, width, bias)
        self._options, self._causal, self._sees = options, causal, sees_distance
        furthest = options.max_relative_positions
        if sees_distance and options.relative_positions_buckets:
            buckets = options.relative_positions_buckets
            self.relative_attention_bias = nn.Embedding(buckets, self._heads)
        elif sees_distance and furthest > 0:
            self.relative_positions_embeddings = nn.Embedding(2 * furthest + 1, self._size)

    def forward(self, x: Tensor, states: Tensor) -> Tensor:
        query, key, value = (
            layer(inputs).view(len(inputs), -1, self._size).transpose(0, 1)
            for layer, inputs in (
                (self.linear_query, x),
                (self.linear_keys, states),
                (self.linear_values, states),
            )
        )
        repeats = self._heads // len(key)
        key, value = key.repeat_interleave(repeats, 0), value.repeat_interleave(repeats, 0)
        options = self._options
        if self._sees and options.max_relative_positions == -1:
            query, key = self._turned(query), self._turned(key)
        query = query / math.sqrt(self._size)
        scores = query @ key.transpose(1, 2)
        distances = torch.arange(len(states)) - torch.arange(len(x))[:, None]
        vectors = None
        if hasattr(self, "relative_attention_bias"):
            scores += self.relative_attention_bias(self._buckets(distances)).permute(2, 0, 1)
        elif hasattr(self, "relative_positions_embeddings"):
            furthest = options.max_relative_positions
            columns = distances.clamp(-furthest, furthest) + furthest
            vectors = self.relative_positions_embeddings(columns)
            scores += torch.einsum("hqd,qkd->hqk", query, vectors)
        if self._causal:
            scores = scores.masked_fill(distances > 0, -1e18)
        weights = scores.softmax(-1)
        heads = weights @ value
        if vectors is not None:
            heads += torch.einsum("hqk,qkd->hqd", weights, vectors)
        return self.final_linear(heads.transpose(0, 1).reshape(len(x), -1))

    def _turned(self, x: Tensor) -> Tensor:
        """Pairs of columns as complex numbers, turned by the position's angles."""
        half = self._size // 2
        rates = self._options.rotary_theta ** (-torch.arange(half) / half)
        angles = torch.arange(x.shape[1])[:, None] * rates
        turn = torch.polar(torch.ones_like(angles), angles)
        if self._options.rotary_interleave:
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], half, 2).contiguous())
            return torch.view_as_real(pairs * turn).flatten(-2)
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat([turned.real, turned.imag], -1)

    def _buckets(self, distances: Tensor) -> Tensor:
        """T5's buckets: small distances one each, then ranges that grow with the logarithm."""
        count, furthest = (
            self._options.relative_positions_buckets,
            self._options.max_relative_positions,
        )
        offset = torch.zeros_like(distances)
        if not self._causal:
            count //= 2
            offset = (distances > 0) * count
            size = distances.abs()
        else:
            size = (-distances).clamp(min=0)
        exact = count // 2
        logs = torch.log(size.clamp(min=1).float() / exact) / math.log(furthest / exact)
        ranged = (exact + (logs * (count - exact)).long()).clamp(max=count - 1)
        return offset + torch.where(size < exact, size, ranged)


class FeedForward(nn.Module):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        width, inner, bias = options.hidden_size, options.transformer_ff, options.add_ffnbias
        self.w_1 = nn.Linear(width, inner, bias)
        self.w_2 = nn.Linear(inner, width, bias)
        self.layer_norm = norm(options)
        name = options.pos_ffn_activation_fn
        self._activation = {
            "relu": functional.relu,
            "gelu": functional.gelu,
            "silu": functional.silu,
            "gated-gelu": functional.gelu,
        }[name]
        self.w_3 = nn.Linear(width, inner, bias) if name in ("silu", "gated-gelu") else None

    def forward(self, x: Tensor) -> Tensor:
        normal = self.layer_norm(x)
        inner = self._activation(self.w_1(normal))
        return x + self.w_2(inner if self.w_3 is None else inner * self.w_3(normal))


class EncoderLayer(nn.Module):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.self_attn = Attention(options, sees_distance=True, causal=False)
        self.feed_forward = FeedForward(options)
        self.layer_norm = norm(options)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.layer_norm(x)
        return self.feed_forward(x + self.self_attn(normal, normal))


class DecoderLayer(nn.Module):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.self_attn = Attention(options, sees_distance=True, causal=True)
        self.context_attn = Attention(options, sees_distance=False, causal=False)
        self.feed_forward = FeedForward(options)
        self.layer_norm_1, self.layer_norm_2 = norm(options), norm(options)

    def forward(self, x: Tensor, states: Tensor) -> Tensor:
        normal = self.layer_norm_1(x)
        x = x + self.self_attn(normal, normal)
        return self.feed_forward(x + self.context_attn(self.layer_norm_2(x), states))


class Positions(nn.Module):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        width = options.hidden_size
        places = torch.arange(5000.0)[:, None]
        if options.position_encoding_type == "SinusoidalConcat":
            rates = 10000.0 ** (-torch.arange(width // 2) / (width // 2 - 1))
            table = torch.cat([torch.sin(places * rates), torch.cos(places * rates)], 1)
        else:
            rates = 10000.0 ** (-torch.arange(0, width, 2) / width)
            table = torch.stack([torch.sin(places * rates), torch.cos(places * rates)], 2).flatten(
                1
            )
        self.register_buffer("pe", table[:, None])


class Embeddings(nn.Module):
    def __init__(self, options: argparse.Namespace, size: int) -> None:
        super().__init__()
        tables = nn.ModuleList([nn.Embedding(size, options.hidden_size)])
        self.make_embedding = nn.ModuleDict({"emb_luts": tables})
        if options.position_encoding:
            self.make_embedding["pe"] = Positions(options)

    def forward(self, ids: Sequence[int]) -> Tensor:
        table = self.make_embedding["emb_luts"][0]
        x = table(torch.tensor(ids))
        if "pe" not in self.make_embedding:
            return x
        return x * math.sqrt(x.shape[1]) + self.make_embedding["pe"].pe[: len(x), 0]


class Stack(nn.Module):
    def __init__(self, options: argparse.Namespace, size: int, layers: str) -> None:
        super().__init__()
        kind, count = (
            (EncoderLayer, options.enc_layers)
            if layers == "transformer"
            else (DecoderLayer, options.dec_layers)
        )
        self.embeddings = Embeddings(options, size)
        setattr(self, layers, nn.ModuleList([kind(options) for _ in range(count)]))
        self.layer_norm = norm(options)
        self._layers = layers

    def forward(self, ids: Sequence[int], *states: Tensor) -> Tensor:
        x = self.embeddings(ids)
        for layer in getattr(self, self._layers):
            x = layer(x, *states)
        return self.layer_norm(x)


class OpenNmt(nn.Module):
    """A model with random weights; `changes` are options."""

    def __init__(self, sizes: tuple[int, int] = (len(SOURCE), len(TARGET)), **changes: Any) -> None:
        super().__init__()
        self.options = options = argparse.Namespace(**{**OPTIONS, **changes})
        self.encoder = Stack(options, sizes[0], "transformer")
        self.decoder = Stack(options, sizes[1], "transformer_layers")
        self.generator = nn.Linear(options.hidden_size, sizes[1])
        table = "make_embedding.emb_luts.0.weight"
        if options.share_embeddings:
            shared = self.encoder.embeddings.make_embedding["emb_luts"]
            self.decoder.embeddings.make_embedding["emb_luts"] = shared
        randomise(self)
        if options.share_decoder_embeddings:
            self.generator.weight = self.decoder.embeddings.get_parameter(table)

    def forward(self, source: list[int], target: list[int]) -> Tensor:
        return self.generator(self.decoder(target, self.encoder(source)))

    def checkpoint(self, vocabularies: Any = None) -> dict[str, Any]:
        """What OpenNMT-py 3 saves."""
        state = self.state_dict()
        if vocabularies is None:
            vocabularies = {
                "src": SOURCE,
                "tgt": TARGET,
                "data_task": "seq2seq",
                "decoder_start_token": "<s>",
            }
        return {
            "model": {name: t for name, t in state.items() if "generator" not in name},
            "generator": self.generator.state_dict(),
            "vocab": vocabularies,
            "opt": self.options,
            "optim": None,
        }


# What versions 1 and 2 stored of torchtext and of themselves; the last one is a function.
CLASSES = (
    "torchtext.vocab.Vocab",
    "torchtext.data.field.Field",
    "torchtext.data.field.RawField",
    "onmt.inputters.text_dataset.TextMultiField",
    "onmt.inputters.text_dataset._feature_tokenize",
)


def save_with_fields(model: OpenNmt, path: Path, form: str, **settings: Any) -> None:
    """Saves a checkpoint with vocabularies as objects.

    They are in "fields" (versions 1 and 2), in "pairs" of a name and a field (0.8), or a list of
    "vocabularies" (before).
    """
    with classes(CLASSES) as made:
        sides = {}
        for name, tokens in (("src", SOURCE_V2), ("tgt", TARGET)):
            vocabulary = instance(
                made["torchtext.vocab.Vocab"],
                freqs=Counter(dict.fromkeys(tokens, 3)),
                itos=tokens,
                stoi=defaultdict(int, {token: i for i, token in enumerate(tokens)}),
                vectors=None,
            )
            field = instance(
                made["torchtext.data.field.Field"],
                vocab=vocabulary,
                tokenize=partial(made["onmt.inputters.text_dataset._feature_tokenize"], layer=0),
                dtype=torch.int64,
                pad_token="<blank>",
            )
            pairs = [(name, field)]
            multi = instance(made["onmt.inputters.text_dataset.TextMultiField"], fields=pairs)
            sides[name] = {"fields": multi, "pairs": pairs, "vocabularies": vocabulary}[form]
        sides["indices"] = instance(made["torchtext.data.field.RawField"], is_target=False)
        checkpoint = model.checkpoint(list(sides.items()) if form == "vocabularies" else sides)
        generator = checkpoint["generator"]
        checkpoint["generator"] = {f"0.{name}": tensor for name, tensor in generator.items()}
        torch.save(checkpoint, path, **settings)
