"""Random MarianMT checkpoints of known shapes, for benchmarks: weights do not change the speed."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Sizes of a MarianMT model, named as in its config.json."""

    d_model: int
    ffn_dim: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocab_size: int


SHAPES = {
    "base": Shape(512, 2048, 8, 6, 6, 58101),
    "base32k": Shape(512, 2048, 8, 6, 6, 32000),
    "tiny": Shape(256, 1536, 8, 6, 2, 32000),
}


def write_checkpoint(shape: Shape, directory: Path, seed: int = 0) -> None:
    """Writes a Hugging Face MarianMT directory with random weights and made-up pieces.

    The pieces are "▁0", "▁1", …; the last id is the padding token, as in opus-mt models. The
    sentencepiece files are those of a tiny real model, since the benchmarks pass tokens, not text.
    """
    import torch
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(seed)
    config = MarianConfig(
        vocab_size=shape.vocab_size,
        d_model=shape.d_model,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.ffn_dim,
        decoder_ffn_dim=shape.ffn_dim,
        activation_function="swish",
        max_position_embeddings=512,
        scale_embedding=True,
        pad_token_id=shape.vocab_size - 1,
        decoder_start_token_id=shape.vocab_size - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
    )
    model = MarianMTModel(config)
    model.generation_config.bad_words_ids = [[shape.vocab_size - 1]]
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    _write_tokenizer(shape.vocab_size, directory)


def _write_tokenizer(vocab_size: int, directory: Path) -> None:
    import io

    import sentencepiece

    pieces = ["</s>", "<unk>", *(f"▁{i}" for i in range(vocab_size - 3)), "<pad>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a small text of a few plain words"] * 20),
        model_writer=model,
        vocab_size=30,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    for name in ("source.spm", "target.spm"):
        (directory / name).write_bytes(model.getvalue())
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "MarianTokenizer"}), encoding="utf-8"
    )


def sentences(
    text: Path, vocab_size: int, count: int, least: int = 20, most: int = 60, seed: int = 0
) -> list[list[str]]:
    """`count` token lists with the lengths of real sentences (one every 4 characters, a usual rate
    of sentencepiece models), `least` to `most` tokens long; the tokens themselves are random."""
    rng = np.random.default_rng(seed)
    lengths: list[int] = []
    with gzip.open(text, "rt", encoding="utf-8") as lines:
        for line in lines:
            length = len(line.strip()) // 4
            if least <= length <= most:
                lengths.append(length)
    picked = [lengths[i % len(lengths)] for i in range(count)]
    return [[f"▁{i}" for i in rng.integers(0, vocab_size - 3, size=length)] for length in picked]
