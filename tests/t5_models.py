"""Random models of T5's family: written as Hugging Face stores them, and read by transformers."""

from __future__ import annotations

import functools
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import sentencepiece
import torch
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)
from transformers.utils import logging

from pytransformer import loaders
from random_models import make_engine

MODELS = {
    "t5": (T5Config, T5ForConditionalGeneration),
    "mt5": (MT5Config, MT5ForConditionalGeneration),
    "umt5": (UMT5Config, UMT5ForConditionalGeneration),
}
PADDING, END, UNKNOWN = 0, 1, 2
VOCABULARY = 71
LARGE = 2.0**14
# Widths that are odd, each in its own way, so that a mix-up or missing padding shows.
_VALUES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 36,
    "d_kv": 7,
    "num_heads": 3,
    "d_ff": 53,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "feed_forward_proj": "relu",
    "decoder_start_token_id": PADDING,
}
_EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "shared.weight")
TOLERANCE = 1e-4  # of the largest logit

Logits = np.ndarray[Any, np.dtype[np.float64]]

logging.disable_progress_bar()
# For models as small as these, the threads' meetings cost more than their work saves.
torch.set_num_threads(1)


def make_t5(
    path: Path,
    name: str = "t5",
    *,
    seed: int = 0,
    output: bool = False,
    large: Sequence[str] = (),
    stored: dict[str, Any] | None = None,
    **config: Any,
) -> PreTrainedModel:
    """Writes a model of the type `name` into the folder `path`; gives it as it is read back.

    With `output` it has an output matrix of its own, and says so as models of T5 1.1 do. `large`
    names what is much larger than usual, and does not change what comes out: "activations" within
    feed-forward layers, or "states" between layers. `stored` overrides what config.json says.
    """
    config_class, model_class = MODELS[name]
    model = model_class(config_class(**{**_VALUES, **config})).eval()
    _randomise(model, seed, output)
    _enlarge(model, large)
    path.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(path)
    model.generation_config.save_pretrained(path)
    change_config(path, **{"tie_word_embeddings": not output, **(stored or {})})
    write_weights(path, weights(model, output=output))
    write_tokenizer(path)
    return read_by_transformers(path, name)


def read_by_transformers(path: Path, name: str = "t5") -> PreTrainedModel:
    return MODELS[name][1].from_pretrained(path, dtype=torch.float32).eval()


def weights(model: PreTrainedModel, *, output: bool) -> dict[str, torch.Tensor]:
    """All tensors, those that are one stored once."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name in (*_EMBEDDINGS[:2], *(() if output else ("lm_head.weight",))):
        state.pop(name, None)
    return state


def write_weights(path: Path, state: dict[str, torch.Tensor]) -> None:
    safetensors.torch.save_file(state, path / "model.safetensors")


def change_config(path: Path, **changes: Any) -> None:
    """Changes config.json; values that are None are taken out."""
    file = path / "config.json"
    # transformers 5 has made of this what older versions call tie_word_embeddings.
    values = {**json.loads(file.read_text()), "scale_decoder_outputs": None, **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def write_tokenizer(path: Path) -> None:
    """One with fewer pieces than the models have embeddings."""
    (path / "spiece.model").write_bytes(train_pieces(64, tuple(_syllables())))
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))


def write_json_tokenizer(path: Path, tokens: Sequence[str]) -> None:
    """A tokenizer.json as the first T5 models have it, whose pieces all have the same score."""
    words = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    splitter = [{"type": "WhitespaceSplit"}, words]
    content = {
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splitter},
        "decoder": words,
        "model": {"unk_id": UNKNOWN, "vocab": [[token, 0.0] for token in tokens]},
    }
    (path / "tokenizer.json").write_text(json.dumps(content))


@functools.cache
def train_pieces(size: int, lines: Sequence[str], **options: Any) -> bytes:
    """A unigram model of sentencepiece with T5's special tokens."""
    model = io.BytesIO()
    values = {"pad_id": PADDING, "eos_id": END, "unk_id": UNKNOWN, "bos_id": -1, **options}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **values,
    )
    return model.getvalue()


def _syllables() -> list[str]:
    pairs = ["".join(pair) for pair in itertools.product("bdfgl", "aeiou")]
    return [" ".join(pairs[(i * k) % 25] + pairs[k] for k in range(1, 9)) for i in range(1, 200)]


def sources(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    """Random sources of up to so many tokens, the end token included."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, size=count)
    return [[*rng.integers(UNKNOWN, VOCABULARY, size=n - 1).tolist(), END] for n in lengths]


@torch.no_grad()
def _randomise(model: PreTrainedModel, seed: int, output: bool) -> None:
    """Weights that make translations differ and attention depend on distances."""
    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], scale: float, mean: float = 0.0) -> torch.Tensor:
        return torch.tensor(rng.normal(mean, scale, shape), dtype=torch.float32)

    if output:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if name.endswith("layer_norm.weight"):
            # Of both signs, or a token's embedding, kept by the residual, would vote for itself.
            sign = torch.tensor(rng.choice([-1.0, 1.0], shape), dtype=torch.float32)
            parameter.copy_(sign * normal(shape, 0.2, 1.0))
        elif name.endswith("relative_attention_bias.weight"):
            parameter.copy_(normal(shape, 1.5))
        elif name == "shared.weight":
            parameter.copy_(normal(shape, 1.0 if output else 3.0))
        elif name == "lm_head.weight":
            parameter.copy_(normal(shape, 3.0 * shape[1] ** -0.5))
        else:
            more = ".wi" in name or name.endswith("EncDecAttention.o.weight")
            parameter.copy_(normal(shape, (2.0 if more else 1.0) * shape[1] ** -0.5))


@torch.no_grad()
def _enlarge(model: PreTrainedModel, what: Sequence[str]) -> None:
    for name, parameter in model.named_parameters():
        if "activations" in what and name.endswith((".wi.weight", ".wi_1.weight")):
            parameter *= LARGE
        elif "activations" in what and name.endswith(".wo.weight"):
            parameter /= LARGE
        if "states" in what and name.endswith((".o.weight", ".wo.weight", "shared.weight")):
            parameter *= LARGE


@torch.inference_mode()
def expected_logits(model: PreTrainedModel, source: list[int], target: list[int]) -> Logits:
    output = model(
        input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]), use_cache=False
    )
    logits: Logits = output.logits[0].double().numpy()
    return logits


def some_target(length: int) -> list[int]:
    tokens = np.random.default_rng(length).integers(UNKNOWN, VOCABULARY, size=length - 1)
    return [PADDING, *tokens.tolist()]


def assert_same_logits(path: Path, model: PreTrainedModel, longest: int = 40) -> None:
    engine = make_engine(loaders.load(path))
    for source in sources(2, longest):
        target = some_target(longest)
        expected = expected_logits(model, source, target)
        found = engine.logits(source, target)
        assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()
