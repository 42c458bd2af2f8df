"""Average checkpoints (section 6.1) and write them as a MarianMT checkpoint folder.

The folder is what `transformers` reads as `MarianMTModel` and `MarianTokenizer`, the names and
files being those of the opus-mt checkpoints. `--check` compares the scores of both networks.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from model import ModelConfig, Transformer

LONGEST = 512


def load_average(paths: list[Path]) -> Transformer:
    """A network with the mean weights of some checkpoints."""
    states = [torch.load(path, weights_only=True) for path in paths]
    model = Transformer(ModelConfig(**states[0]["config"]))
    weights = [state["model"] for state in states]
    mean = {name: torch.stack([w[name] for w in weights]).mean(dim=0) for name in weights[0]}
    model.load_state_dict(mean)
    model.eval()
    return model


def attention_tensors(name: str, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Marian's four projections of one attention; ours has query, key and value in one."""
    result: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        parts = state[f"{source}.input.{kind}"].chunk(3)
        for projection, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
            result[f"{name}.{projection}.{kind}"] = part
        result[f"{name}.out_proj.{kind}"] = state[f"{source}.output.{kind}"]
    return result


def layer_tensors(name: str, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """One layer of the encoder or decoder under Marian's names."""
    result = attention_tensors(f"{name}.self_attn", state, f"{source}.attention")
    plain = {
        "attention_residual.norm": "self_attn_layer_norm",
        "feed_forward.input": "fc1",
        "feed_forward.output": "fc2",
        "feed_forward_residual.norm": "final_layer_norm",
    }
    if f"{source}.cross.input.weight" in state:
        result |= attention_tensors(f"{name}.encoder_attn", state, f"{source}.cross")
        plain["cross_residual.norm"] = "encoder_attn_layer_norm"
    for ours, theirs in plain.items():
        for kind in ("weight", "bias"):
            result[f"{name}.{theirs}.{kind}"] = state[f"{source}.{ours}.{kind}"]
    return result


def marian_tensors(model: Transformer) -> dict[str, Tensor]:
    """All tensors of the checkpoint; sinusoids and tied copies are not stored."""
    state = model.state_dict()
    result = {
        "model.shared.weight": state["embedding.weight"],
        "final_logits_bias": state["output_bias"][None],
    }
    for part, count in (
        ("encoder", model.config.encoder_layers),
        ("decoder", model.config.decoder_layers),
    ):
        for index in range(count):
            result |= layer_tensors(f"model.{part}.layers.{index}", state, f"{part}.{index}")
    return {name: tensor.contiguous().clone() for name, tensor in result.items()}


def marian_config(config: ModelConfig) -> dict[str, Any]:
    """`config.json`."""
    pad = config.vocabulary - 1
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "activation_function": "relu",
        "activation_dropout": 0.0,
        "attention_dropout": 0.0,
        "dropout": config.dropout,
        "d_model": config.width,
        "decoder_attention_heads": config.heads,
        "decoder_ffn_dim": config.inner,
        "decoder_layerdrop": 0.0,
        "decoder_layers": config.decoder_layers,
        "decoder_start_token_id": pad,
        "decoder_vocab_size": config.vocabulary,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.inner,
        "encoder_layerdrop": 0.0,
        "encoder_layers": config.encoder_layers,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "init_std": 0.02,
        "is_encoder_decoder": True,
        "max_position_embeddings": LONGEST,
        "normalize_before": False,
        "normalize_embedding": False,
        "num_hidden_layers": config.encoder_layers,
        "pad_token_id": pad,
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "static_position_embeddings": True,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": config.vocabulary,
    }


def generation_config(config: ModelConfig) -> dict[str, Any]:
    """`generation_config.json`: beam search as in the opus-mt checkpoints."""
    pad = config.vocabulary - 1
    return {
        "bad_words_ids": [[pad]],
        "decoder_start_token_id": pad,
        "early_stopping": False,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "length_penalty": 1.0,
        "max_length": LONGEST,
        "num_beams": 4,
        "pad_token_id": pad,
    }


def tokenizer_config() -> dict[str, Any]:
    """`tokenizer_config.json`."""
    return {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": "mul",
        "target_lang": "mul",
        "default_target_language": "en",  # read by pytransformer when a call names no language
        "unk_token": "<unk>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": LONGEST,
        "separate_vocabs": False,
        "sp_model_kwargs": {},
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """A JSON file with sorted keys."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def export(model: Transformer, tokenizer: Path, output: Path) -> None:
    """Write the checkpoint folder; an old one at `output` is replaced when it is complete."""
    fresh = output.with_name(output.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    weights = fresh / "model.safetensors"
    save_file(marian_tensors(model), weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    write_json(fresh / "config.json", marian_config(model.config))
    write_json(fresh / "generation_config.json", generation_config(model.config))
    write_json(fresh / "tokenizer_config.json", tokenizer_config())
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copyfile(tokenizer / name, fresh / name)
    if output.exists():
        old = output.with_name(output.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        output.rename(old)
        fresh.rename(output)
        shutil.rmtree(old)
    else:
        fresh.rename(output)


@torch.no_grad()
def check(model: Transformer, folder: Path) -> float:
    """The largest difference between our scores and those of `transformers`."""
    from transformers import MarianMTModel

    theirs = MarianMTModel.from_pretrained(folder)
    theirs.train(False)
    generator = torch.Generator().manual_seed(0)
    pad = model.config.vocabulary - 1
    source = torch.randint(2, pad, (5, 23), generator=generator)
    decoder_input = torch.randint(2, pad, (5, 17), generator=generator)
    source[1:, 15:] = pad
    padding = source == pad
    mask = torch.zeros(source.shape).masked_fill_(padding, -torch.inf)[:, None, None]
    ours = model.logits(model(source, decoder_input, mask))
    result = theirs(
        input_ids=source, attention_mask=(~padding).long(), decoder_input_ids=decoder_input
    )
    return float((ours - result.logits).abs().max())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, required=True, help="--output of train.py")
    parser.add_argument("--tokenizer", type=Path, required=True, help="written by tokenizer.py")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--average", type=int, default=3, help="number of last checkpoints")
    parser.add_argument("--check", action="store_true", help="compare with transformers")
    arguments = parser.parse_args()
    paths = sorted(arguments.checkpoints.glob("weights-*.pt"))[-arguments.average :]
    model = load_average(paths)
    export(model, arguments.tokenizer, arguments.output)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters, mean of {', '.join(path.name for path in paths)}")
    if arguments.check:
        print(f"largest difference of scores: {check(model, arguments.output):.2e}")


if __name__ == "__main__":
    main()
