"""A random student of the kind that Firefox ships, in Marian's forms, and a lexical shortlist.

The sizes are those of Bergamot's `tiny11`: six layers of encoder, two of a decoder whose
self-attention is an SSRU, width 256, feed-forward layers of 1536, 32,000 pieces. As in
`marian_model.py`, no sentence ends before its limit, and pieces are "▁0", "▁1", ….

    python bench/marian_student.py OUT
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from marian_binary import is_matrix, write_int8
from marian_model import END, NEVER, UNKNOWN, Floats
from sentencepiece_words import write_words

VOCABULARY = 32000
WIDTH, FEED_FORWARD, HEADS = 256, 1536, 8
LAYERS = {"encoder": 6, "decoder": 2}
# The scale of every matrix's activations: what it is does not change the speed.
ACTIVATION_SCALE = 127 / 8
# The shortlist names so many translations of each piece; with those of a sentence of some 30 pieces
# the output layer has about 1,000 tokens.
FIRST, BEST = 100, 30
_SHORTLIST_MAGIC = 0xF11A48D5013417F5


def write_student(out: Path, seed: int = 0) -> None:
    """Writes `model.npz`, both int8 forms, `vocab.spm` and `lex.bin` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors = dict(_tensors(rng))
    options = _options()
    pieces = ["</s>", "<unk>", *(f"▁{i}" for i in range(VOCABULARY - 2))]
    write_words(pieces, out / "vocab.spm")
    write_int8(tensors, options, out / "model.int8.bin")
    matrices = [name for name in tensors if is_matrix(name)]
    scales = dict.fromkeys([*matrices, "Wemb", "none"], ACTIVATION_SCALE)
    write_int8(tensors, options, out / "model.int8-alphas.bin", scales)
    text = np.frombuffer(options.encode() + b"\0", np.int8)
    with (out / "model.npz").open("wb") as file:
        np.savez(file, **{**tensors, "special:model.yml": text})
    (out / "lex.bin").write_bytes(_shortlist(rng))


def _tensors(rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """All weights under Marian's names; matrices are [inputs, outputs]."""

    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, np.float32) * np.float32(WIDTH**-0.5)

    yield "Wemb", normal(VOCABULARY, WIDTH)
    bias = np.zeros((1, VOCABULARY), np.float32)
    bias[:, [END, UNKNOWN]] = NEVER
    yield "decoder_ff_logit_out_b", bias
    for side, layers in LAYERS.items():
        for layer in range(1, layers + 1):
            prefix = f"{side}_l{layer}"
            if side == "decoder":
                yield f"{prefix}_rnn_W", normal(WIDTH, WIDTH)
                yield f"{prefix}_rnn_Wf", normal(WIDTH, WIDTH)
                yield f"{prefix}_rnn_bf", normal(1, WIDTH)
                yield from _norm(f"{prefix}_rnn_ffn")
            block = "context" if side == "decoder" else "self"
            for letter in "qkvo":
                yield f"{prefix}_{block}_W{letter}", normal(WIDTH, WIDTH)
                yield f"{prefix}_{block}_b{letter}", normal(1, WIDTH)
            yield from _norm(f"{prefix}_{block}_Wo")
            yield f"{prefix}_ffn_W1", normal(WIDTH, FEED_FORWARD)
            yield f"{prefix}_ffn_b1", normal(1, FEED_FORWARD)
            yield f"{prefix}_ffn_W2", normal(FEED_FORWARD, WIDTH)
            yield f"{prefix}_ffn_b2", normal(1, WIDTH)
            yield from _norm(f"{prefix}_ffn_ffn")


def _norm(name: str) -> Iterator[tuple[str, Floats]]:
    yield f"{name}_ln_scale", np.ones((1, WIDTH), np.float32)
    yield f"{name}_ln_bias", np.zeros((1, WIDTH), np.float32)


def _options() -> str:
    options = {
        "type": "transformer",
        "version": "v1.9.0",
        "dim-vocabs": [VOCABULARY, VOCABULARY],
        "dim-emb": WIDTH,
        "enc-depth": LAYERS["encoder"],
        "dec-depth": LAYERS["decoder"],
        "dec-cell": "ssru",
        "dec-cell-base-depth": 2,
        "dec-cell-high-depth": 1,
        "dim-rnn": WIDTH,
        "transformer-heads": HEADS,
        "transformer-dim-ffn": FEED_FORWARD,
        "transformer-ffn-depth": 2,
        "transformer-ffn-activation": "relu",
        "transformer-decoder-autoreg": "rnn",
        "transformer-rnn-projection": False,
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
        "skip": False,
        "layer-normalization": False,
        "right-left": False,
        "input-types": [],
        "ulr": False,
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in options.items())


def _shortlist(rng: np.random.Generator) -> bytes:
    """Marian's binary form: the translations of each source piece, in the order of their ids."""
    lists = [np.sort(rng.choice(VOCABULARY, BEST, replace=False)) for _ in range(VOCABULARY)]
    offsets = np.arange(VOCABULARY + 1, dtype="<u8") * BEST
    ids = np.concatenate(lists).astype("<u4").tobytes()
    body = (
        struct.pack("<4Q", FIRST, BEST, len(offsets), VOCABULARY * BEST) + offsets.tobytes() + ids
    )
    return struct.pack("<2Q", _SHORTLIST_MAGIC, _checksum(body)) + body


def _checksum(body: bytes) -> int:
    """Boost's way to combine hashes, over words of 64 bits."""
    mask, combined = 2**64 - 1, 0
    for word in np.frombuffer(body, "<u8", len(body) // 8).tolist():
        combined ^= (word + 0x9E3779B9 + (combined << 6) + (combined >> 2)) & mask
    return combined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    write_student(parser.parse_args().out)


if __name__ == "__main__":
    main()
