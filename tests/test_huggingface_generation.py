"""What a checkpoint says of decoding has the effect that it has in transformers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MarianMTModel

import pytransformer
from huggingface_models import random_marian
from pytransformer import native
from pytransformer.loaders import load
from random_models import sentences

SOURCES = sentences(12, 61, 3, 30)
LENGTH = 24


@dataclass(frozen=True)
class Checkpoint:
    """A model with settings of generation, on disk and as transformers has it."""

    path: Path
    model: MarianMTModel

    @torch.inference_mode()
    def generated(self) -> list[list[int]]:
        """What `generate` gives by these settings, without start, padding and end."""
        settings = self.model.generation_config
        ends = settings.eos_token_id
        left_out = {settings.pad_token_id, *(ends if isinstance(ends, list) else [ends])}
        rows = [self.model.generate(torch.tensor([source]))[0].tolist() for source in SOURCES]
        return [[token for token in row if token not in left_out] for row in rows]


def checkpoint(path: Path, beams: int, **generation: Any) -> Checkpoint:
    """Its padding token never comes, which `generate` would fill up shorter ones with."""
    model, _ = random_marian(
        path,
        lively=True,
        seed=3,
        vocab_size=61,
        d_model=48,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=100,
        decoder_ffn_dim=100,
    )
    words = [[model.generation_config.pad_token_id], *generation.pop("bad_words_ids", [])]
    settings = {"num_beams": beams, "max_length": LENGTH, "bad_words_ids": words, **generation}
    for key, value in settings.items():
        setattr(model.generation_config, key, value)
    model.generation_config.save_pretrained(path)
    return Checkpoint(path, model)


def translated(path: Path) -> list[list[int]]:
    results = pytransformer.Translator(path, intra_threads=1).translate_batch(SOURCES)
    return [result.ids[0] for result in results]


def common(rows: list[list[int]], size: int) -> list[list[int]]:
    """The most frequent n-grams of a size, most frequent first."""
    counts = Counter(tuple(row[i : i + size]) for row in rows for i in range(len(row) - size + 1))
    return [list(ngram) for ngram, _ in counts.most_common()]


@pytest.fixture(scope="module", params=[1, 4], ids=["greedy", "beam-4"])
def beams(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def free(beams: int, tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """What is generated where the checkpoint asks for nothing special."""
    made = checkpoint(tmp_path_factory.mktemp("free"), beams)
    rows = made.generated()
    assert translated(made.path) == rows
    assert len({tuple(row) for row in rows}) > 8
    return rows


SETTINGS: dict[str, Any] = {
    "repetition_penalty": lambda free: {"repetition_penalty": 1.6},
    "encouraged_repetition": lambda free: {"repetition_penalty": 0.8},
    "no_repeat_ngram_size": lambda free: {"no_repeat_ngram_size": 2},
    "several_ends": lambda free: {
        "eos_token_id": [0, *(ngram[0] for ngram in common(free, 1)[3:6])]
    },
    "bad_words": lambda free: {"bad_words_ids": [*common(free, 2)[:8], *common(free, 3)[20:25]]},
    "bad_words_and_ends": lambda free: {
        "eos_token_id": [0, *common(free, 1)[2]],
        "bad_words_ids": [common(free, 1)[2], common(free, 1)[0], *common(free, 2)[:3]],
        "min_length": 6,
    },
    "forced_bos": lambda free: {"forced_bos_token_id": 40},
    "forced_bos_and_penalty": lambda free: {
        "forced_bos_token_id": 40,
        "repetition_penalty": 2.0,
    },
    "all": lambda free: {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "eos_token_id": [0, *common(free, 1)[4]],
        "bad_words_ids": common(free, 2)[:5],
        "forced_bos_token_id": 40,
        "min_length": 4,
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_same_as_transformers(name: str, beams: int, free: list[list[int]], tmp_path: Path) -> None:
    made = checkpoint(tmp_path / "model", beams, **SETTINGS[name](free))
    expected = made.generated()
    assert expected != free
    assert translated(made.path) == expected


def test_settings_survive_the_native_file(
    free: list[list[int]], beams: int, tmp_path: Path
) -> None:
    made = checkpoint(tmp_path / "model", beams, **SETTINGS["all"](free))
    file = tmp_path / "model.safetensors"
    native.write(load(made.path), file)
    assert translated(file) == translated(made.path)
