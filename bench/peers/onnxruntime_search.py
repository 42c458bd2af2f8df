"""Greedy and beam search over logits, for translations of a given length."""

from __future__ import annotations

import numpy as np
import torch


class Greedy:
    """The best token of every row."""

    def __init__(self) -> None:
        self._tokens: list[np.ndarray] = []

    def extend(self, logits: torch.Tensor) -> tuple[None, np.ndarray]:
        """From logits [rows, vocabulary] to the next tokens [rows, 1]; rows stay where they are."""
        self._tokens.append(logits.argmax(1, keepdim=True).numpy())
        return None, self._tokens[-1]

    def best(self) -> list[list[int]]:
        rows: list[list[int]] = np.concatenate(self._tokens, axis=1).tolist()
        return rows


class Beam:
    """The best `size` hypotheses of every sentence, which all end at the same length."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._scores: torch.Tensor | None = None
        self._ids: torch.Tensor | None = None

    def extend(self, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """From logits to the rows that go on, and their next tokens; there are sentences x size.

        At the first step there is one row for each sentence.
        """
        vocabulary = logits.shape[1]
        scores = torch.log_softmax(logits, dim=1)
        if self._scores is not None:
            scores = scores + self._scores.reshape(-1, 1)
        sentences = len(logits) // (1 if self._scores is None else self._size)
        self._scores, places = scores.reshape(sentences, -1).topk(self._size)
        first_rows = torch.arange(sentences)[:, None] * (len(logits) // sentences)
        rows = (first_rows + places // vocabulary).flatten()
        tokens = (places % vocabulary).reshape(-1, 1)
        kept = [] if self._ids is None else [self._ids[rows]]
        self._ids = torch.cat([*kept, tokens], dim=1)
        return rows.numpy(), tokens.numpy()

    def best(self) -> list[list[int]]:
        assert self._ids is not None
        rows: list[list[int]] = self._ids[:: self._size].tolist()
        return rows
