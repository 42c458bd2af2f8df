"""Random BERT, ViT and GPT-2 models, written by transformers, with tokenizers of few tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from transformers.utils import logging

END = 0  # of GPT-2
# Of the root mean square of what is compared.
TOLERANCE = 1e-4

BERT_CLASSES = {"model": BertModel, "classifier": BertForSequenceClassification}
VIT_CLASSES = {"model": ViTModel, "classifier": ViTForImageClassification}
_TEXT = (
    "the a dog cat runs ran quickly slowly through over snow fields and or but she he they "
    "saw seen never always green blue house houses 1984 don't it's end"
)
_WORDS = _TEXT.split()
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

logging.disable_progress_bar()
logging.set_verbosity_error()
# For models as small as these, the threads' meetings cost more than their work saves.
torch.set_num_threads(1)


def make_bert(
    path: Path, kind: str = "classifier", *, seed: int = 0, **config: Any
) -> PreTrainedModel:
    """Writes a BERT directory with widths that are odd; gives the model."""
    vocabulary = bert_vocabulary()
    values: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "hidden_size": 45,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 61,
        "max_position_embeddings": 70,
        "num_labels": 3,
        **config,
    }
    path.mkdir(parents=True, exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return _written(BERT_CLASSES[kind](BertConfig(**values)), path, seed)


def bert_vocabulary() -> list[str]:
    """Special tokens, words, and letters and signs that begin and continue words."""
    letters = [
        *"abcdefghijklmnopqrstuvwxyzäöüßéABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789犬雪",
        "ing",
        "ed",
    ]
    signs = [*".,;:!?'\"()-"]
    continuing = (f"##{letter}" for letter in letters)
    return list(dict.fromkeys([*_SPECIAL, *signs, *letters, *continuing, *_WORDS]))


def make_vit(
    path: Path, kind: str = "classifier", *, seed: int = 0, **config: Any
) -> PreTrainedModel:
    """Writes a ViT directory whose pictures are no squares; gives the model."""
    values: dict[str, Any] = {
        "hidden_size": 45,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 61,
        "image_size": [30, 44],
        "patch_size": [7, 4],
        "num_labels": 19,
        **config,
    }
    return _written(VIT_CLASSES[kind](ViTConfig(**values)), path, seed)


def make_gpt2(path: Path, *, seed: int = 0, **config: Any) -> GPT2LMHeadModel:
    """Writes a GPT-2 directory whose texts differ, and often end by themselves."""
    tokenizer = _train_byte_pairs()
    values: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "n_embd": 45,
        "n_layer": 3,
        "n_head": 3,
        "n_positions": 90,
        "bos_token_id": END,
        "eos_token_id": END,
        **config,
    }
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save_model(str(path))
    model = GPT2LMHeadModel(GPT2Config(**values))
    return _written(model, path, seed, end=END)


def corpus() -> Iterator[str]:
    """Made-up sentences."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        words = rng.choice(_WORDS, size=int(rng.integers(3, 12)))
        yield " ".join(words).capitalize() + str(rng.choice([".", "!", "?"]))


def close(ours: object, theirs: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether numbers agree, measured by the size of theirs."""
    expected = theirs.detach().numpy()
    found = np.asarray(ours)
    size = np.sqrt((expected.astype(np.float64) ** 2).mean())
    return found.shape == expected.shape and bool(
        np.abs(found - expected).max() <= tolerance * size
    )


def _train_byte_pairs() -> ByteLevelBPETokenizer:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        corpus(),
        vocab_size=400,
        min_frequency=1,
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    return tokenizer


@torch.no_grad()
def _written(model: Any, path: Path, seed: int, end: int | None = None) -> Any:
    """The model with weights that keep every layer's output of order 1, saved."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and ("norm" in name.lower() or ".ln_" in name) and "weight" in name:
            # Of both signs, or a token's embedding, kept by the residual, would vote for itself.
            signs = torch.randint(0, 2, parameter.shape) * 2.0 - 1.0
            parameter.copy_(signs * (1.0 + 0.2 * torch.randn(parameter.shape)))
        elif parameter.dim() == 1:
            parameter.normal_(0.0, 0.1)
        elif "wte" in name:
            parameter.normal_(0.0, 3.0 * parameter.shape[1] ** -0.5)
        elif "embedding" in name or "wpe" in name:
            parameter.normal_(0.0, 1.0)
        else:
            inputs = parameter.shape[0] if ".c_" in name else parameter[0].numel()
            # Where the norms come first, layers must be louder than what they are added to.
            gain = 2.5 if "c_proj" in name or "c_attn" in name else 1.0
            parameter.normal_(0.0, gain * inputs**-0.5)
    if end is not None:
        # What is added to the last norm's output has the product 5 with the end token's row.
        row = model.lm_head.weight[end]
        model.transformer.ln_f.bias.add_(5.0 * row / row.square().sum())
    model.eval()
    model.save_pretrained(path)
    return model


def write_json(path: Path, content: Any) -> None:
    """A file with a value as JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
