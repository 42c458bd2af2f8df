"""A Hugging Face MarianMT directory as a Marian model, for benchmarks of Marian and Bergamot.

Writes the same weights under Marian's names:

- `model.npz`: what Marian and Bergamot read in float32;
- `vocab.spm`: a sentencepiece vocabulary, for both sides, in which text such as "12 7" gives the
  checkpoint's pieces "▁12 ▁7";
- `model.int8.bin`, `model.int8-alphas.bin`: Bergamot's int8 forms, the second one with the scales
  of the activations, which it then need not find at run time.

Random weights hardly ever end a sentence by themselves, and Marian has no least length; so the end
token's output bias is very low, and a translation is as long as the limit says. The vocabulary is
filled up to a multiple of 8, which int8 products need, with tokens that are as unlikely.

    python bench/marian_model.py HUGGING_FACE_DIRECTORY OUT
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from marian_binary import write_int8
from sentencepiece_words import write_words

Floats = npt.NDArray[np.float32]

END, UNKNOWN = 0, 1
# Far below any logit, and far above what would give infinities in a sum.
NEVER = -1e6
# Marian's int8 products want a multiple of it.
VOCABULARY_STEP = 8

_ATTENTION = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "o"}


def write_marian(checkpoint: Path, out: Path) -> None:
    """Writes all forms into the folder `out`."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    state = load_file(checkpoint / "model.safetensors")
    vocabulary = json.loads((checkpoint / "vocab.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    tensors = marian_tensors(config, state)
    size = len(tensors["Wemb"])
    options = model_options(config, size)
    write_words(pieces(vocabulary, size), out / "vocab.spm")
    write_int8(tensors, options, out / "model.int8.bin")
    write_int8(tensors, options, out / "model.int8-alphas.bin", activation_scales(checkpoint))
    text = np.frombuffer(options.encode() + b"\0", np.int8)
    arrays: dict[str, Any] = {**tensors, "special:model.yml": text}
    with (out / "model.npz").open("wb") as file:
        np.savez(file, **arrays)


def pieces(vocabulary: Mapping[str, int], size: int) -> list[str]:
    """The checkpoint's pieces without the padding token, then fillers."""
    own = sorted((i, piece) for piece, i in vocabulary.items() if piece != "<pad>")
    if [i for i, _ in own] != list(range(len(own))):
        raise ValueError("the padding token must be the last of the vocabulary")
    return [piece for _, piece in own] + [f"▁filler{i}" for i in range(size - len(own))]


def marian_tensors(config: Mapping[str, Any], state: Mapping[str, Floats]) -> dict[str, Floats]:
    """All weights under Marian's names; matrices are [inputs, outputs], the embedding is [V, d]."""
    tensors = dict(_vocabulary_tensors(config, state))
    for side in ("encoder", "decoder"):
        for layer in range(config[f"{side}_layers"]):
            theirs = f"model.{side}.layers.{layer}"
            tensors.update(_layer(state, theirs, f"{side}_l{layer + 1}", side == "decoder"))
    return tensors


def _vocabulary_tensors(
    config: Mapping[str, Any], state: Mapping[str, Floats]
) -> Iterator[tuple[str, Floats]]:
    """Marian has no start token: its first input is zero, as the padding token's embedding is."""
    kept = config["pad_token_id"]
    embedding = state["model.shared.weight"]
    if config["vocab_size"] != kept + 1 or np.any(embedding[kept]):
        raise ValueError("the padding token must be the last one, and its embedding zero")
    size = -(-kept // VOCABULARY_STEP) * VOCABULARY_STEP
    table = np.zeros((size, config["d_model"]), np.float32)
    table[:kept] = embedding[:kept]
    bias = np.full((1, size), NEVER, np.float32)
    bias[:, :kept] = state["final_logits_bias"][:, :kept]
    # Marian never gives <unk> anyway.
    bias[:, [END, UNKNOWN]] = NEVER
    yield "Wemb", table
    yield "decoder_ff_logit_out_b", bias


def _layer(
    state: Mapping[str, Floats], theirs: str, ours: str, is_decoder: bool
) -> Iterator[tuple[str, Floats]]:
    attentions = [("self_attn", "self")] + [("encoder_attn", "context")] * is_decoder
    for block, name in attentions:
        for projection, letter in _ATTENTION.items():
            yield from _linear(state, f"{theirs}.{block}.{projection}", f"{ours}_{name}", letter)
        yield from _norm(state, f"{theirs}.{block}_layer_norm", f"{ours}_{name}_Wo")
    for projection, letter in {"fc1": "1", "fc2": "2"}.items():
        yield from _linear(state, f"{theirs}.{projection}", f"{ours}_ffn", letter)
    yield from _norm(state, f"{theirs}.final_layer_norm", f"{ours}_ffn_ffn")


def _linear(
    state: Mapping[str, Floats], theirs: str, ours: str, letter: str
) -> Iterator[tuple[str, Floats]]:
    yield f"{ours}_W{letter}", np.ascontiguousarray(state[f"{theirs}.weight"].T)
    yield f"{ours}_b{letter}", state[f"{theirs}.bias"][None]


def _norm(state: Mapping[str, Floats], theirs: str, ours: str) -> Iterator[tuple[str, Floats]]:
    yield f"{ours}_ln_scale", state[f"{theirs}.weight"][None]
    yield f"{ours}_ln_bias", state[f"{theirs}.bias"][None]


def model_options(config: Mapping[str, Any], vocab_size: int) -> str:
    """What Marian keeps in `special:model.yml`; YAML reads JSON's numbers, words and lists."""
    heads = {config[f"{side}_attention_heads"] for side in ("encoder", "decoder")}
    widths = {config[f"{side}_ffn_dim"] for side in ("encoder", "decoder")}
    if len(heads) != 1 or len(widths) != 1 or config["activation_function"] != "swish":
        raise ValueError("Marian wants equal heads and widths on both sides, and swish")
    options = {
        "type": "transformer",
        "version": "v1.12.0",
        "dim-vocabs": [vocab_size, vocab_size],
        "dim-emb": config["d_model"],
        "enc-depth": config["encoder_layers"],
        "dec-depth": config["decoder_layers"],
        "transformer-heads": heads.pop(),
        "transformer-dim-ffn": widths.pop(),
        "transformer-decoder-dim-ffn": 0,
        "transformer-ffn-depth": 2,
        "transformer-decoder-ffn-depth": 0,
        "transformer-ffn-activation": "swish",
        "transformer-decoder-autoreg": "self-attention",
        "transformer-preprocess": "",
        "transformer-postprocess-emb": "d",
        "transformer-postprocess": "dan",
        "transformer-postprocess-top": "",
        "transformer-train-position-embeddings": False,
        "transformer-no-projection": False,
        "transformer-tied-layers": [],
        "transformer-guided-alignment-layer": "last",
        "tied-embeddings": False,
        "tied-embeddings-src": False,
        "tied-embeddings-all": True,
        "output-omit-bias": False,
        "skip": False,
        "layer-normalization": False,
        "right-left": False,
        "input-types": [],
        "ulr": False,
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in options.items())


def activation_scales(checkpoint: Path, sentences: int = 16, length: int = 32) -> dict[str, float]:
    """For each matrix, by Marian's name: 127 / the largest input it met on random sentences."""
    import torch
    from transformers import MarianMTModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = MarianMTModel.from_pretrained(checkpoint).eval()
    names = _matrix_names(model.config)
    largest: dict[str, float] = {}

    def note(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
        largest[name] = max(largest.get(name, 0.0), float(inputs[0].abs().max()))

    for theirs, module in model.named_modules():
        if theirs in names:
            module.register_forward_pre_hook(
                lambda _, inputs, name=names[theirs]: note(name, inputs)
            )
    ids = np.random.default_rng(0).integers(2, model.config.pad_token_id, (2, sentences, length))
    source, target = (torch.from_numpy(side) for side in ids)
    with torch.no_grad():
        model(input_ids=source, decoder_input_ids=target)
    # The output layer's name depends on whether there is a lexical shortlist.
    largest["none"] = largest["Wemb"]
    return {name: 127 / value for name, value in largest.items()}


def _matrix_names(config: Any) -> dict[str, str]:
    """Marian's name of every matrix, by the name of transformers' module."""
    names = {"lm_head": "Wemb"}
    for side in ("encoder", "decoder"):
        attentions = {"self_attn": "self"}
        if side == "decoder":
            attentions["encoder_attn"] = "context"
        for layer in range(getattr(config, f"{side}_layers")):
            theirs, ours = f"model.{side}.layers.{layer}", f"{side}_l{layer + 1}"
            for block, name in attentions.items():
                for projection, letter in _ATTENTION.items():
                    names[f"{theirs}.{block}.{projection}"] = f"{ours}_{name}_W{letter}"
            names[f"{theirs}.fc1"] = f"{ours}_ffn_W1"
            names[f"{theirs}.fc2"] = f"{ours}_ffn_W2"
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    write_marian(arguments.checkpoint, arguments.out)


if __name__ == "__main__":
    main()
