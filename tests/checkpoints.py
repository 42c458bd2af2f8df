"""Makes small MarianMT checkpoints with random weights, as Hugging Face stores them."""

from __future__ import annotations

import functools
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import sentencepiece
import torch
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

Weights = Literal["safetensors", "safetensors_shards", "bin", "bin_shards"]

# Enough for a sentencepiece model of some hundred pieces.
_WORDS = {
    "en": (
        "a the dog man woman child street snow water runs stands plays sits jumps red green small "
        "old with on in under two three people house tree ball quickly slowly and is are big blue"
    ),
    "de": (
        "ein der Hund Mann Frau Kind Straße Schnee Wasser läuft steht spielt sitzt springt rot "
        "grün klein alt mit auf in unter zwei drei Leute Haus Baum Ball schnell langsam und ist"
    ),
}


@dataclass(frozen=True)
class MarianCheckpoint:
    """A checkpoint's directory, and the model and tokenizer that transformers reads from it."""

    path: Path
    model: MarianMTModel
    tokenizer: MarianTokenizer


def make_marian(
    path: Path,
    *,
    weights: Weights = "safetensors",
    dtype: torch.dtype = torch.float32,
    separate_vocabs: bool = False,
    languages: Sequence[str] = (),
    generation: dict[str, Any] | None = None,
    tokenizer_config: dict[str, Any] | None = None,
    seed: int = 0,
    **config: Any,
) -> MarianCheckpoint:
    """Writes a checkpoint into the folder `path`, which may exist.

    `languages` become `>>xx<<` tokens. `generation`, `tokenizer_config` and `config` override
    single values of the respective files.
    """
    path.mkdir(parents=True, exist_ok=True)
    sizes = write_tokenizer(path, separate_vocabs, languages, tokenizer_config or {})
    torch.manual_seed(seed)
    model = MarianMTModel(_config(sizes, separate_vocabs, config)).eval()
    _randomise(model)
    for key, value in (generation or {}).items():
        setattr(model.generation_config, key, value)
    model = model.to(dtype)
    shard_size = "40KB" if weights == "safetensors_shards" else "5GB"
    model.save_pretrained(path, max_shard_size=shard_size)
    if weights.startswith("bin"):
        (path / "model.safetensors").unlink()
        write_bin(path, model.state_dict(), shards=2 if weights == "bin_shards" else 1)
    loaded = MarianMTModel.from_pretrained(path, dtype=torch.float32).eval()
    return MarianCheckpoint(path, loaded, MarianTokenizer.from_pretrained(path))


def copy_of(checkpoint: MarianCheckpoint, path: Path) -> Path:
    """Copies a checkpoint's files into the folder `path`, for a test to change them."""
    shutil.copytree(checkpoint.path, path, dirs_exist_ok=True)
    return path


def edit_json(path: Path, change: dict[str, Any]) -> None:
    """Overrides keys of a JSON file; those with the value None are removed."""
    values = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a folder's model.safetensors."""
    return safetensors.torch.load_file(path / "model.safetensors")


def write_state(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Replaces the tensors in a folder's model.safetensors."""
    safetensors.torch.save_file(state, path / "model.safetensors")


def write_tokenizer(
    path: Path, separate_vocabs: bool, languages: Sequence[str], config: dict[str, Any]
) -> tuple[int, int]:
    """Writes the tokenizer's files; gives the sizes of the source's and the target's vocabulary."""
    names = ("source", "target")
    for name, language in zip(names, ("de", "en"), strict=True):
        (path / f"{name}.spm").write_bytes(train_pieces(language))
    pieces = [_pieces(train_pieces(language)) for language in ("de", "en")]
    prefixes = [f">>{language}<<" for language in languages]
    if separate_vocabs:
        vocabs = [_vocab(prefixes + pieces[0]), _vocab(pieces[1])]
        (path / "target_vocab.json").write_text(json.dumps(vocabs[1], ensure_ascii=False))
    else:
        vocabs = [_vocab(prefixes + pieces[0] + pieces[1])] * 2
    (path / "vocab.json").write_text(json.dumps(vocabs[0], ensure_ascii=False))
    settings = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate_vocabs, **config}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocabs[0]), len(vocabs[1])


@functools.cache
def train_pieces(language: str) -> bytes:
    """A sentencepiece model of some hundred pieces, trained on made-up sentences."""
    words = _WORDS[language].split()
    lines = [
        " ".join(words[(i * k + i) % len(words)] for k in range(3, 9)) + "." for i in range(400)
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=150,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    return model.getvalue()


def _pieces(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]


def _vocab(pieces: list[str]) -> dict[str, int]:
    """Ids in Marian's order: </s>, <unk>, pieces, <pad>."""
    special = {"<s>", "</s>", "<unk>"}
    tokens = ["</s>", "<unk>", *dict.fromkeys(p for p in pieces if p not in special), "<pad>"]
    return {token: i for i, token in enumerate(tokens)}


def _config(
    sizes: tuple[int, int], separate_vocabs: bool, overrides: dict[str, Any]
) -> MarianConfig:
    """Every width is odd in its own way, so that a mix-up or missing padding shows."""
    values = {
        "vocab_size": sizes[0],
        "decoder_vocab_size": sizes[1],
        "share_encoder_decoder_embeddings": not separate_vocabs,
        "d_model": 24,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 3,
        "encoder_ffn_dim": 20,
        "decoder_ffn_dim": 33,
        "max_position_embeddings": 64,
        "scale_embedding": True,
        "activation_function": "swish",
        "pad_token_id": sizes[1] - 1,
        "decoder_start_token_id": sizes[1] - 1,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
    }
    return MarianConfig(**{**values, **overrides})


@torch.no_grad()
def _randomise(model: MarianMTModel) -> None:
    """Weights large enough that logits differ clearly, norms and biases away from 1 and 0."""
    for name, parameter in model.named_parameters():
        if "embed_positions" in name:
            continue
        if parameter.dim() > 1:
            parameter.normal_(0.0, parameter.shape[1] ** -0.5)
        elif "layer_norm" in name and name.endswith("weight"):
            parameter.normal_(1.0, 0.2)
        else:
            parameter.normal_(0.0, 0.2)
    model.final_logits_bias.normal_(0.0, 0.5)


def write_bin(path: Path, state: dict[str, torch.Tensor], shards: int) -> None:
    names = list(state)
    if shards == 1:
        torch.save(state, path / "pytorch_model.bin")
        return
    weight_map = {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        part = {name: state[name] for name in names[shard::shards]}
        torch.save(part, path / file)
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {}, "weight_map": weight_map}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
