"""Random MarianMT models of any shape: one that transformers runs, and our engine over the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from transformers import MarianConfig, MarianMTModel, PreTrainedModel

from checkpoints import train_pieces
from pytransformer import _native, loaders, native

END = 0

# The matrices whose rows belong to tokens.
_EMBEDDINGS = ("shared.weight", "embed_tokens.weight", "lm_head.weight", "output_projection.weight")

# For models as small as these, the threads' meetings cost more than their work saves.
torch.set_num_threads(1)


def random_marian(
    path: Path, *, seed: int = 0, lively: bool = False, **config: Any
) -> tuple[MarianMTModel, _native.Engine]:
    """Writes a MarianMT directory at `path` and opens it in both; all widths are odd.

    `lively` makes a model whose translations differ and mostly end by themselves: its positions
    are stored, large and random, so that it does not repeat itself.
    """
    values: dict[str, Any] = {
        "vocab_size": 1003,
        "d_model": 20,
        "encoder_layers": 1,
        "decoder_layers": 3,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 37,
        "decoder_ffn_dim": 37,
        "max_position_embeddings": 70,
        "scale_embedding": True,
        "activation_function": "relu",
        "eos_token_id": END,
        "forced_eos_token_id": END,
        **config,
    }
    size = values.setdefault("decoder_vocab_size", values["vocab_size"])
    values["pad_token_id"] = values["decoder_start_token_id"] = size - 1
    model = MarianMTModel(MarianConfig(**values)).eval()
    randomise(model, seed, lively=lively, positions=2.0 if lively else None)
    path.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(path)
    model.generation_config.save_pretrained(path)
    _write_weights(model, path)
    _write_tokenizer(model.config, path)
    image = native.build_image(loaders.load(path))
    return model, _native.Engine(_native.Model.from_buffer(image, str(path)), 1, 1)


@torch.no_grad()
def randomise(model: PreTrainedModel, seed: int, *, lively: bool, positions: float | None) -> None:
    """Weights that keep every layer's output of order 1, and logits peaked.

    `positions` is the standard deviation of stored positions; None leaves them as they are.
    """
    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], scale: float, mean: float = 0.0) -> torch.Tensor:
        return torch.tensor(rng.normal(mean, scale, shape), dtype=torch.float32)

    pre_norm = hasattr(model.get_decoder(), "layer_norm")
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if "embed_positions" in name:
            if positions is not None:
                parameter.copy_(normal(shape, positions))
        elif name.endswith(_EMBEDDINGS):
            parameter.copy_(normal(shape, 3.0 * shape[1] ** -0.5))
        elif "norm" in name and name.endswith("weight"):
            # Of both signs, or a token's embedding, kept by the residual, would vote for itself.
            sign = torch.tensor(rng.choice([-1.0, 1.0], shape), dtype=torch.float32)
            parameter.copy_(sign * normal(shape, 0.2, 1.0))
        elif parameter.dim() == 2:
            gain = _gain(name, pre_norm=pre_norm) if lively else 1.0
            parameter.copy_(normal(shape, gain * shape[1] ** -0.5))
        else:
            parameter.copy_(normal(shape, 0.05))
    bias = getattr(model, "final_logits_bias", None)
    if bias is not None:
        bias.copy_(normal(tuple(bias.shape), 0.5))
    if lively:
        _prefer(model, model.config.eos_token_id)


def _prefer(model: PreTrainedModel, token: int) -> None:
    """Adds about 2 to the logits of a token, in models without biases by the decoder's last norm.

    What is added to that norm's output has the product 2 with the token's row.
    """
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias[0, token] = 2.0
        return
    decoder = model.get_decoder()
    norm = getattr(decoder, "layer_norm", decoder.layers[-1].final_layer_norm)
    output = getattr(decoder, "output_projection", None) or model.lm_head
    row = output.weight[token]
    norm.bias.add_(2.0 * row / row.square().sum())


def _gain(name: str, *, pre_norm: bool) -> float:
    """Lively models attend sharply, and more to the source than to themselves.

    With the norm first, layers have to be louder than the embeddings that they are added to.
    """
    if "q_proj" in name:
        return 2.0
    gain = 0.75 if "encoder_attn" in name and "k_proj" not in name else 0.5
    return 3.0 * gain if pre_norm and ("out_proj" in name or "fc2" in name) else gain


def _write_weights(model: MarianMTModel, path: Path) -> None:
    """All tensors, the positions included, which save_pretrained leaves out; tied ones once."""
    state: dict[str, torch.Tensor] = {}
    stored: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in stored:
            stored.add(tensor.data_ptr())
            state[name] = tensor.contiguous()
    safetensors.torch.save_file(state, path / "model.safetensors")


def _write_tokenizer(config: MarianConfig, path: Path) -> None:
    """Vocabularies of made-up pieces; these tests give ids, not text."""
    for name, language in (("source", "de"), ("target", "en")):
        (path / f"{name}.spm").write_bytes(train_pieces(language))
    shared = config.share_encoder_decoder_embeddings
    sizes = {"vocab.json": config.vocab_size}
    if not shared:
        sizes["target_vocab.json"] = config.decoder_vocab_size
    for name, size in sizes.items():
        pieces = ["</s>", "<unk>", *(f"▁{i}" for i in range(size - 3)), "<pad>"]
        vocabulary = {piece: i for i, piece in enumerate(pieces)}
        (path / name).write_text(json.dumps(vocabulary), encoding="utf-8")
    settings = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": not shared}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
