"""MarianMT models (the OPUS-MT family) as Hugging Face stores them.

Names and arithmetic are those of transformers' modeling_marian: post-norm layers, sinusoidal
positions, vocabularies that are shared or separate.
"""

from __future__ import annotations

from pathlib import Path

from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_embeddings import Tying
from pytransformer.loaders.huggingface_encoder_decoder import Family, Vocabularies
from pytransformer.loaders.huggingface_marian_tokenizer import read_tokenizer
from pytransformer.loaders.huggingface_positions import Positions
from pytransformer.model_spec import TokenizerSpec


def _read_tokenizer(
    directory: Path, config: Settings, source_size: int, target_size: int
) -> tuple[TokenizerSpec, dict[str, bytes]]:
    files, settings = read_tokenizer(directory, source_size, target_size)
    return TokenizerSpec("marian", settings), files


def _read_vocabularies(config: Settings) -> Vocabularies:
    shared = config.flag("share_encoder_decoder_embeddings", True)
    source = config.integer("vocab_size", 58101, minimum=1)
    target = source if shared else config.integer("decoder_vocab_size", source, minimum=1)
    return Vocabularies(source, target, Tying(shared, config.flag("tie_word_embeddings", True)))


MARIAN = Family(
    model_type="marian",
    DESCRIPTION=(
        "a Hugging Face MarianMT directory (config.json with model_type 'marian', weights, "
        "source.spm, target.spm, vocab.json)"
    ),
    norm_position="post",
    final_norm=False,
    embedding_norm=False,
    positions=Positions("sinusoidal", offset=0, is_read=False),
    read_tokenizer=_read_tokenizer,
    read_vocabularies=_read_vocabularies,
)
