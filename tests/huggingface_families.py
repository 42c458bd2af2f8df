"""Random models of BART's relatives: written by transformers, and opened by the engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    FSMTConfig,
    FSMTForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PreTrainedModel,
)
from transformers.utils import logging

from huggingface_models import randomise
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_bart import BART, FSMT, M2M_100, MBART, PEGASUS
from pytransformer.loaders.huggingface_encoder_decoder import Family
from pytransformer.loaders.tensor_source import TensorSource
from pytransformer.model_spec import Checkpoint, TokenizerSpec

FAMILIES = {family.model_type: family for family in (BART, MBART, M2M_100, PEGASUS, FSMT)}
MODELS = {
    "bart": (BartConfig, BartForConditionalGeneration),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
    "m2m_100": (M2M100Config, M2M100ForConditionalGeneration),
    "pegasus": (PegasusConfig, PegasusForConditionalGeneration),
    "fsmt": (FSMTConfig, FSMTForConditionalGeneration),
}
# Widths that are odd, each in its own way, so that a mix-up or missing padding shows.
_VALUES: dict[str, Any] = {
    "vocab_size": 103,
    "d_model": 45,
    "encoder_layers": 1,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 5,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 61,
    "max_position_embeddings": 70,
}
logging.disable_progress_bar()


def make_model(
    path: Path,
    name: str,
    *,
    seed: int = 0,
    lively: bool = False,
    dtype: torch.dtype = torch.float32,
    shard_size: str = "5GB",
    **config: Any,
) -> PreTrainedModel:
    """Writes a model of the family `name` into the folder `path`; gives it as it is read back.

    `lively` makes one whose translations differ and mostly end by themselves.
    """
    values = {**_VALUES, **config}
    if name == "fsmt":
        size = values.pop("vocab_size")
        values = {"src_vocab_size": size, "tgt_vocab_size": size, **values}
    config_class, model_class = MODELS[name]
    model = model_class(config_class(**values)).eval()
    learned = FAMILIES[name].positions.kind == "learned"
    randomise(model, seed, lively=lively, positions=(2.0 if lively else 0.5) if learned else None)
    model.to(dtype).save_pretrained(path, max_shard_size=shard_size)
    return model_class.from_pretrained(path, dtype=torch.float32).eval()


def load(path: Path) -> Checkpoint:
    """Reads a folder without a tokenizer."""
    return _without_tokenizer(path).load(path)


def build(path: Path, source: TensorSource) -> Checkpoint:
    """The checkpoint of other weights with a folder's configuration."""
    return _without_tokenizer(path).build(path, Settings.read(path / "config.json"), source)


def _without_tokenizer(path: Path) -> Family:
    (family,) = (family for family in FAMILIES.values() if family.recognises(path))
    return dataclasses.replace(family, read_tokenizer=lambda *_: (TokenizerSpec("none"), {}))
