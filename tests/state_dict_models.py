"""Transformers as people write them in PyTorch, with the names that their tutorials give.

Each takes the ids of a source and of a target, and gives the logits [target, vocabulary].
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torch_fixtures import randomise

SIZES = 15, 17
WIDTH, HEADS, INNER = 16, 2, 20


def causal_mask(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def sinusoids(rows: int, width: int) -> Tensor:
    rates = torch.exp(-torch.arange(0, width, 2) * math.log(10000) / width)
    angles = torch.arange(rows)[:, None] * rates
    return torch.stack([torch.sin(angles), torch.cos(angles)], 2).flatten(1)[:, :width]


class TokenEmbedding(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(ids) * math.sqrt(WIDTH)


class PositionalEncoding(nn.Module):
    def __init__(self, rows: int = 50) -> None:
        super().__init__()
        self.register_buffer("pos_embedding", sinusoids(rows, WIDTH)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pos_embedding[: len(x), 0]


class Tutorial(nn.Module):
    """PyTorch's tutorial on translation; `options` are those of nn.Transformer."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.transformer = nn.Transformer(
            d_model=WIDTH,
            nhead=HEADS,
            num_encoder_layers=2,
            num_decoder_layers=1,
            dim_feedforward=INNER,
            **options,
        )
        self.generator = nn.Linear(WIDTH, SIZES[1])
        self.src_tok_emb = TokenEmbedding(SIZES[0])
        self.tgt_tok_emb = TokenEmbedding(SIZES[1])
        self.positional_encoding = PositionalEncoding()
        randomise(self)
        self.eval()

    def forward(self, source: list[int], target: list[int]) -> Tensor:
        x = self.positional_encoding(self.src_tok_emb(torch.tensor(source)))
        y = self.positional_encoding(self.tgt_tok_emb(torch.tensor(target)))
        return self.generator(self.transformer(x, y, tgt_mask=causal_mask(len(target))))


class Apart(nn.Module):
    """The encoder and the decoder of nn.Transformer apart, without final norms and scaling.

    Learned positions for each side; the output is tied to the target's embedding.
    """

    def __init__(self) -> None:
        super().__init__()
        encoder_layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True)
        decoder_layer = nn.TransformerDecoderLayer(WIDTH, HEADS, INNER, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(encoder_layer, 1)
        self.transformer_decoder = nn.TransformerDecoder(decoder_layer, 2)
        self.src_word_embedding = nn.Embedding(SIZES[0], WIDTH)
        self.trg_word_embedding = nn.Embedding(SIZES[1], WIDTH)
        self.src_position_embedding = nn.Embedding(30, WIDTH)
        self.trg_position_embedding = nn.Embedding(25, WIDTH)
        self.fc_out = nn.Linear(WIDTH, SIZES[1])
        self.fc_out.weight = self.trg_word_embedding.weight
        randomise(self)
        self.eval()

    def forward(self, source: list[int], target: list[int]) -> Tensor:
        x, y = torch.tensor(source), torch.tensor(target)
        x = self.src_word_embedding(x) + self.src_position_embedding(torch.arange(len(x)))
        y = self.trg_word_embedding(y) + self.trg_position_embedding(torch.arange(len(y)))
        states = self.transformer_encoder(x[None])
        mask = causal_mask(len(target))
        return self.fc_out(self.transformer_decoder(y[None], states, tgt_mask=mask)[0])


class DeviationNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(WIDTH))
        self.b_2 = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.a_2 * (x - mean) / (deviation + 1e-6) + self.b_2


class AnnotatedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(4)])

    def forward(self, x: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value, output = self.linears
        heads = [
            linear(inputs).view(len(inputs), HEADS, -1).transpose(0, 1)
            for linear, inputs in ((query, x), (key, states), (value, states))
        ]
        scores = heads[0] @ heads[1].transpose(1, 2) / math.sqrt(WIDTH // HEADS)
        if mask is not None:
            scores = scores.masked_fill(mask, -1e9)
        return output((scores.softmax(-1) @ heads[2]).transpose(0, 1).flatten(1))


class AnnotatedLayer(nn.Module):
    def __init__(self, *, has_source: bool) -> None:
        super().__init__()
        self.self_attn = AnnotatedAttention()
        if has_source:
            self.src_attn = AnnotatedAttention()
        self.feed_forward = nn.ModuleDict(
            {"w_1": nn.Linear(WIDTH, INNER), "w_2": nn.Linear(INNER, WIDTH)}
        )
        count = 3 if has_source else 2
        self.sublayer = nn.ModuleList(
            [nn.ModuleDict({"norm": DeviationNorm()}) for _ in range(count)]
        )

    def forward(self, x: Tensor, states: Tensor | None = None) -> Tensor:
        norms = [sublayer["norm"] for sublayer in self.sublayer]
        y = norms[0](x)
        x = x + self.self_attn(y, y, None if states is None else causal_mask(len(x)))
        if states is not None:
            x = x + self.src_attn(norms[1](x), states)
        inner = functional.relu(self.feed_forward["w_1"](norms[-1](x)))
        return x + self.feed_forward["w_2"](inner)


class AnnotatedStack(nn.Module):
    def __init__(self, count: int, *, has_source: bool) -> None:
        super().__init__()
        layers = [AnnotatedLayer(has_source=has_source) for _ in range(count)]
        self.layers, self.norm = nn.ModuleList(layers), DeviationNorm()

    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, *states)
        return self.norm(x)


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(60, WIDTH)[None])


class Annotated(nn.Module):
    """The Annotated Transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AnnotatedStack(2, has_source=False)
        self.decoder = AnnotatedStack(1, has_source=True)
        tables = [nn.ModuleDict({"lut": nn.Embedding(size, WIDTH)}) for size in SIZES]
        self.src_embed = nn.ModuleList([tables[0], Positions()])
        self.tgt_embed = nn.ModuleList([tables[1], Positions()])
        self.generator = nn.ModuleDict({"proj": nn.Linear(WIDTH, SIZES[1])})
        randomise(self)

    def forward(self, source: list[int], target: list[int]) -> Tensor:
        states = self.encoder(self._embed(self.src_embed, source))
        return self.generator["proj"](self.decoder(self._embed(self.tgt_embed, target), states))

    def _embed(self, modules: nn.ModuleList, ids: list[int]) -> Tensor:
        x = modules[0]["lut"](torch.tensor(ids)) * math.sqrt(WIDTH)
        return x + modules[1].pe[0, : len(ids)]


class Seq2SeqAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc_q, self.fc_k, self.fc_v, self.fc_o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = (
            linear(inputs).view(len(inputs), HEADS, -1).transpose(0, 1)
            for linear, inputs in ((self.fc_q, x), (self.fc_k, states), (self.fc_v, states))
        )
        energy = query @ key.transpose(1, 2) / math.sqrt(WIDTH // HEADS)
        if mask is not None:
            energy = energy.masked_fill(mask, -1e10)
        return self.fc_o((energy.softmax(-1) @ value).transpose(0, 1).flatten(1))


class Seq2SeqLayer(nn.Module):
    def __init__(self, *, has_source: bool, one_norm: bool) -> None:
        super().__init__()
        self.self_attention = Seq2SeqAttention()
        self.positionwise_feedforward = nn.ModuleDict(
            {"fc_1": nn.Linear(WIDTH, INNER), "fc_2": nn.Linear(INNER, WIDTH)}
        )
        names = ["self_attn_layer_norm", "ff_layer_norm"]
        if has_source:
            self.encoder_attention = Seq2SeqAttention()
            names.insert(1, "enc_attn_layer_norm")
        self._names = ["layer_norm"] * len(names) if one_norm else names
        for name in dict.fromkeys(self._names):
            self.add_module(name, nn.LayerNorm(WIDTH))

    def forward(self, x: Tensor, states: Tensor | None = None) -> Tensor:
        norms = [self.get_submodule(name) for name in self._names]
        mask = None if states is None else causal_mask(len(x))
        x = norms[0](x + self.self_attention(x, x, mask))
        if states is not None:
            x = norms[1](x + self.encoder_attention(x, states))
        forward = self.positionwise_feedforward
        return norms[-1](x + forward["fc_2"](torch.relu(forward["fc_1"](x))))


class Seq2SeqStack(nn.Module):
    def __init__(self, size: int, count: int, *, has_source: bool, one_norm: bool) -> None:
        super().__init__()
        self.tok_embedding = nn.Embedding(size, WIDTH)
        self.pos_embedding = nn.Embedding(40, WIDTH)
        layers = [Seq2SeqLayer(has_source=has_source, one_norm=one_norm) for _ in range(count)]
        self.layers = nn.ModuleList(layers)
        if has_source:
            self.fc_out = nn.Linear(WIDTH, size)

    def forward(self, ids: list[int], *states: Tensor) -> Tensor:
        x = self.tok_embedding(torch.tensor(ids)) * math.sqrt(WIDTH)
        x = x + self.pos_embedding(torch.arange(len(ids)))
        for layer in self.layers:
            x = layer(x, *states)
        return x


class Seq2Seq(nn.Module):
    """The sixth of the tutorials pytorch-seq2seq; `one_norm` as it was early in 2020."""

    def __init__(self, *, one_norm: bool = False) -> None:
        super().__init__()
        self.encoder = Seq2SeqStack(SIZES[0], 2, has_source=False, one_norm=one_norm)
        self.decoder = Seq2SeqStack(SIZES[1], 2, has_source=True, one_norm=one_norm)
        randomise(self)

    def forward(self, source: list[int], target: list[int]) -> Tensor:
        return self.decoder.fc_out(self.decoder(target, self.encoder(source)))


def greedy(model: nn.Module, source: list[int], start: int, end: int, longest: int) -> list[int]:
    """Token after token, as the tutorials do it: without start and end token."""
    target = [start]
    with torch.no_grad():
        while len(target) <= longest:
            token = int(model(source, target)[-1].argmax())
            if token == end:
                break
            target.append(token)
    return target[1:]


def renamed(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """A state dict with parts of names replaced."""
    changed = copy.copy(state)
    for old, new in names.items():
        changed = {name.replace(old, new): tensor for name, tensor in changed.items()}
    return changed
