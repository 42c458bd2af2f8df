"""The attention of one translation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytransformer.attention.alignment import Alignment, align
from pytransformer.errors import OptionError
from pytransformer.words import Word, marked_words

Kind: TypeAlias = Literal["cross", "encoder", "decoder"]
KINDS: tuple[Kind, ...] = ("cross", "encoder", "decoder")


class View(NamedTuple):
    """One kind of attention, with the names of its rows and columns.

    Attributes:
        weights: [layers, heads, rows, columns].
        rows: the tokens that look.
        columns: the tokens that are looked at.
    """

    weights: npt.NDArray[np.float32]
    rows: list[str]
    columns: list[str]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The weights of all heads for one sentence and its translation.

    A row says how much one token looks at each other token; its weights sum to 1. Rows of `decoder`
    and `cross` are the steps of decoding: step i is given `decoder_inputs[i]` and produces
    `target_tokens[i]`.

    Attributes:
        source_tokens: [source] what the encoder is given; the end token is the last.
        target_tokens: [target] what the steps produce, the end token too if it came to that.
        encoder: [layers, heads, source, source], self-attention.
        decoder: [layers, heads, target, target], self-attention; above the diagonal it is 0.
        cross: [layers, heads, target, source], from the decoder to the encoder's output.
        start_token: what the first step is given.
        source_words: the words of the source; None where tokens mark the space before a word and
            the source's last one is the end token.
        target_words: those of the translation, likewise.

    Raises:
        ValueError: a shape or type of number does not fit the tokens.
    """

    source_tokens: list[str]
    target_tokens: list[str]
    encoder: npt.NDArray[np.float32]
    decoder: npt.NDArray[np.float32]
    cross: npt.NDArray[np.float32]
    start_token: str = "<s>"
    source_words: list[Word] | None = None
    target_words: list[Word] | None = None

    def __post_init__(self) -> None:
        if not (self.source_tokens and self.target_tokens):
            raise ValueError("there are no tokens, expected at least one on either side")
        for kind in KINDS:
            weights, rows, columns = self.view(kind)
            shape = (len(rows), len(columns))
            if weights.ndim != 4 or weights.shape[2:] != shape or 0 in weights.shape:
                raise ValueError(
                    f"{kind} has the shape {list(weights.shape)}, "
                    f"expected [layers, heads, {shape[0]}, {shape[1]}]"
                )
            if weights.dtype != np.float32:
                raise ValueError(f"{kind} is {weights.dtype}, expected float32")
        if len(self.decoder) != len(self.cross):
            raise ValueError(
                f"decoder has {len(self.decoder)} layers and cross {len(self.cross)}, "
                "expected the same"
            )

    @property
    def decoder_inputs(self) -> list[str]:
        """[target] What the steps are given: the start token, then what each produced."""
        return [self.start_token, *self.target_tokens[:-1]]

    def view(self, kind: Kind) -> View:
        """One kind of attention; raises OptionError if there is no such kind."""
        if kind == "encoder":
            return View(self.encoder, self.source_tokens, self.source_tokens)
        if kind == "decoder":
            return View(self.decoder, self.decoder_inputs, self.decoder_inputs)
        if kind == "cross":
            return View(self.cross, self.target_tokens, self.source_tokens)
        raise OptionError(f"there is no attention {kind!r}, expected one of {', '.join(KINDS)}")

    def cross_mean(
        self, layer: int | None = -1, heads: Sequence[int] | None = None
    ) -> npt.NDArray[np.float32]:
        """The mean of several heads' cross-attention.

        Args:
            layer: counted from 0, or from -1, the last, down; None is the mean of all layers.
            heads: counted in the same way; None means all.

        Returns:
            [target, source]

        Raises:
            OptionError: there is no such layer or head.
        """
        num_layers, num_heads = self.cross.shape[:2]
        layers = pick(num_layers, None if layer is None else [layer], "layer")
        chosen = self.cross[np.ix_(layers, pick(num_heads, heads, "head"))]
        mean: npt.NDArray[np.float32] = chosen.mean(axis=(0, 1), dtype=np.float32)
        return mean

    def word_alignment(
        self,
        *,
        layer: int | None = -1,
        heads: Sequence[int] | None = None,
        threshold: float | None = None,
    ) -> Alignment:
        """Which words of the source each word of the translation comes from.

        Args:
            layer: as for `cross_mean`.
            heads: as for `cross_mean`.
            threshold: None links each word of the translation with the word that it looks at most,
                as Marian's ``--alignment hard`` does; a number, 0 to 1, links it with all words of
                a greater weight.

        Raises:
            OptionError: there is no such layer or head, or the threshold is not 0 to 1.
        """
        end = self.source_tokens[-1]
        sources, targets = self.source_words, self.target_words
        return align(
            marked_words(self.source_tokens, end) if sources is None else sources,
            marked_words(self.target_tokens, end) if targets is None else targets,
            self.cross_mean(layer, heads),
            threshold,
        )


def pick(count: int, wanted: Iterable[int] | None, name: str) -> list[int]:
    """Numbers of layers or heads without negative ones.

    Args:
        count: how many there are.
        wanted: their numbers; a negative one counts from the end. None means all.
        name: what they are, for messages.

    Raises:
        OptionError: there is no such layer or head, or none is asked for.
    """
    if wanted is None:
        return list(range(count))
    numbers = list(wanted)
    if not numbers:
        raise OptionError(f"no {name} is asked for, expected at least one")
    for number in numbers:
        if not -count <= number < count:
            raise OptionError(f"there is no {name} {number}, expected {-count} to {count - 1}")
    return [number % count for number in numbers]
