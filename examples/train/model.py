"""The Transformer of "Attention Is All You Need" in the form of a Marian checkpoint.

Layer norm stands behind the residual sum (section 3.1), positions are sinusoids, one embedding
serves source, target and output (section 3.4). Every linear layer has a bias, as in Marian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of the network."""

    vocabulary: int
    width: int = 192
    heads: int = 6
    inner: int = 512
    encoder_layers: int = 3
    decoder_layers: int = 2
    dropout: float = 0.1


def sinusoids(length: int, width: int) -> Tensor:
    """Positions as sinusoids (section 3.5): all the sines, then all the cosines."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
    angle = position / 10000**exponent
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


class Attention(nn.Module):
    """Multi-head attention (section 3.2.2); queries come from `x`, keys and values from `memory`.

    The projections of query, key and value are one matrix, in this order.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.input = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor | None) -> Tensor:
        """`[batch, length, width]`; `mask` is added to the scores."""
        width = x.shape[-1]
        if memory is None:
            query, key, value = self.input(x).chunk(3, dim=-1)
        else:
            weight, bias = self.input.weight, self.input.bias
            query = functional.linear(x, weight[:width], bias[:width])
            key, value = functional.linear(memory, weight[width:], bias[width:]).chunk(2, dim=-1)
        scores = self._split(query) @ self._split(key).mT * (width // self.heads) ** -0.5
        if mask is not None:
            scores = scores + mask
        heads = scores.softmax(dim=-1).to(value.dtype) @ self._split(value)
        joined: Tensor = self.output(heads.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: Tensor) -> Tensor:
        """`[batch, heads, length, width / heads]`, contiguous for the batched product."""
        split = x.view(*x.shape[:2], self.heads, x.shape[2] // self.heads)
        return split.transpose(1, 2).contiguous()


class FeedForward(nn.Module):
    """The position-wise network (section 3.3)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input = nn.Linear(config.width, config.inner)
        self.output = nn.Linear(config.inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, length, width]`."""
        result: Tensor = self.output(functional.relu(self.input(x)))
        return result


class Dropout(nn.Module):
    """Dropout (section 5.4) that draws its random numbers once.

    Fresh ones cost a tenth of the training time on a processor; here every call multiplies by a
    piece of one long mask, taken at a random place.
    """

    mask: Tensor

    def __init__(self, rate: float, length: int = 2**21) -> None:
        super().__init__()
        kept = torch.rand(length) >= rate
        self.register_buffer("mask", kept / (1 - rate), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; the identity outside of training."""
        size = x.numel()
        if not self.training:
            return x
        start = int(torch.randint(self.mask.numel() - size, ()))
        return x * self.mask[start : start + size].view(x.shape)


class Residual(nn.Module):
    """LayerNorm(x + Dropout(sublayer(x))), sections 3.1 and 5.4."""

    def __init__(self, config: ModelConfig, dropout: Dropout) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.dropout = dropout

    def forward(self, x: Tensor, sublayer: Tensor) -> Tensor:
        """`[batch, length, width]`."""
        result: Tensor = self.norm(x + self.dropout(sublayer))
        return result


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: ModelConfig, dropout: Dropout) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_residual = Residual(config, dropout)
        self.feed_forward = FeedForward(config)
        self.feed_forward_residual = Residual(config, dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`[batch, source length, width]`."""
        x = self.attention_residual(x, self.attention(x, None, mask))
        result: Tensor = self.feed_forward_residual(x, self.feed_forward(x))
        return result


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder, feed-forward."""

    def __init__(self, config: ModelConfig, dropout: Dropout) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_residual = Residual(config, dropout)
        self.cross = Attention(config)
        self.cross_residual = Residual(config, dropout)
        self.feed_forward = FeedForward(config)
        self.feed_forward_residual = Residual(config, dropout)

    def forward(self, x: Tensor, memory: Tensor, causal: Tensor, mask: Tensor | None) -> Tensor:
        """`[batch, target length, width]`; `causal` hides later positions, `mask` padding."""
        x = self.attention_residual(x, self.attention(x, None, causal))
        x = self.cross_residual(x, self.cross(x, memory, mask))
        result: Tensor = self.feed_forward_residual(x, self.feed_forward(x))
        return result


class Transformer(nn.Module):
    """Encoder and decoder; the output layer is `embedding.weight` with `output_bias`."""

    positions: Tensor

    def __init__(self, config: ModelConfig, longest: int = 512) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.output_bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.register_buffer("positions", sinusoids(longest, config.width), persistent=False)
        self.dropout = Dropout(config.dropout)
        self.encoder = nn.ModuleList(
            EncoderLayer(config, self.dropout) for _ in range(config.encoder_layers)
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(config, self.dropout) for _ in range(config.decoder_layers)
        )
        self._initialise()

    def _initialise(self) -> None:
        """Glorot's uniform distribution for the matrices, biases zero, d^-0.5 for embeddings."""
        width = self.config.width
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith(("attention.input.weight", "cross.input.weight")):
                nn.init.uniform_(parameter, -math.sqrt(3 / width), math.sqrt(3 / width))
            elif name.endswith(("input.weight", "output.weight")):
                nn.init.xavier_uniform_(parameter)

    def _embed(self, ids: Tensor) -> Tensor:
        scaled = self.embedding(ids) * math.sqrt(self.config.width)
        x: Tensor = self.dropout(scaled + self.positions[: ids.shape[1]])
        return x

    def encode(self, source: Tensor, mask: Tensor | None) -> Tensor:
        """`[batch, source length, width]`; `mask`: `[batch, 1, 1, source length]`."""
        x = self._embed(source)
        for layer in self.encoder:
            x = layer(x, mask)
        return x

    def decode(self, decoder_input: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """The last hidden states, `[batch, target length, width]`."""
        x = self._embed(decoder_input)
        length = decoder_input.shape[1]
        causal = torch.full((length, length), -torch.inf).triu(1)
        for layer in self.decoder:
            x = layer(x, memory, causal, mask)
        return x

    def forward(self, source: Tensor, decoder_input: Tensor, mask: Tensor | None) -> Tensor:
        """The last hidden states of the decoder; `logits` turns them into scores."""
        return self.decode(decoder_input, self.encode(source, mask), mask)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the vocabulary for hidden states."""
        return functional.linear(hidden, self.embedding.weight, self.output_bias)
