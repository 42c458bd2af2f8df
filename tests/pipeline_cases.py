"""What the tests of the pipeline translate, and what transformers' `generate` gives for it."""

from __future__ import annotations

from typing import Any

import torch

from checkpoints import MarianCheckpoint

ONE = "Der Hund läuft im Schnee."
TWO = "Zwei Leute."
THREE = "Ein Kind spielt mit dem Ball und springt auf das Haus."
TEXTS = [ONE, TWO, THREE]
SHORT = {"num_beams": 4, "max_length": 14}


def generate(marian: MarianCheckpoint, text: str, **options: Any) -> list[list[int]]:
    """The ids of generate's sequences, without what pads them."""
    batch = marian.tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        found = marian.model.generate(**batch, **options).tolist()
    padding = marian.model.config.pad_token_id
    for ids in found:
        while len(ids) > 1 and ids[-1] == padding:
            ids.pop()
    return found
