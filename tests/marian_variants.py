"""Small random models of Marian, one for each of its options, with the scores that Marian gives.

Run as a program, with pymarian in another environment, it writes the scores anew:

    python tests/marian_variants.py PATH_OF_PYMARIAN
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.marian_options import read_architecture
from pytransformer.loaders.marian_parameters import plan_tensors

SCORES = Path(__file__).with_name("marian_variants.json")
VERSION = "v1.12.42"
# As Marian writes them: quoted where YAML asks for it.
VOCABULARY = """\
</s>: 0
<unk>: 1
",": 2
a: 3
"#": 4
"'": 5
"\\"": 6
'it''s': 7
▁ö: 8
"-": 9
b:c: 10
"e: f": 11
"\\\\x": 12
">>de<<": 13
"\\x85": 14
12: 15
"~": 16
"yes": 17
x#y: 18
"[": 19
"""
SIZE = 20
SOURCES = ("a ▁ö b:c 12 ' \"", "e: f zzz # , -", "[ it's x#y ~ yes a a a a 12 12 \\x")
TARGETS = ("▁ö a 12 #", ", zzz a", "~ 12 a it's a x#y [")

_BASE: dict[str, Any] = {
    "type": "transformer",
    "version": VERSION,
    "dim-vocabs": [SIZE, SIZE],
    "dim-emb": 16,
    "enc-depth": 2,
    "dec-depth": 2,
    "transformer-heads": 2,
    "transformer-dim-ffn": 24,
    "transformer-decoder-dim-ffn": 0,
    "transformer-ffn-depth": 2,
    "transformer-decoder-ffn-depth": 0,
    "transformer-ffn-activation": "swish",
    "transformer-decoder-autoreg": "self-attention",
    "transformer-dim-aan": 24,
    "transformer-aan-depth": 2,
    "transformer-aan-activation": "swish",
    "transformer-aan-nogate": False,
    "transformer-preprocess": "",
    "transformer-postprocess-emb": "d",
    "transformer-postprocess": "dan",
    "transformer-postprocess-top": "",
    "transformer-train-position-embeddings": False,
    "transformer-no-projection": False,
    "transformer-rnn-projection": False,
    "transformer-tied-layers": [],
    "transformer-guided-alignment-layer": "last",
    "transformer-attention-mask": "default",
    "tied-embeddings": False,
    "tied-embeddings-src": False,
    "tied-embeddings-all": True,
    "output-omit-bias": False,
    "dec-cell": "gru",
    "enc-cell": "gru",
    "enc-type": "bidirectional",
    "dim-rnn": 16,
    "layer-normalization": False,
    "skip": False,
    "right-left": False,
    "input-types": [],
    "ulr": False,
    "lemma-dim-emb": 0,
}
PRE_NORM = {
    "transformer-preprocess": "n",
    "transformer-postprocess": "da",
    "transformer-postprocess-top": "n",
}
SSRU = {"transformer-decoder-autoreg": "rnn", "dec-cell": "ssru"}
AVERAGE = {"transformer-decoder-autoreg": "average-attention"}
UNTIED = {"tied-embeddings-all": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm": PRE_NORM,
    "pre-norm of embeddings": {**PRE_NORM, "transformer-postprocess-emb": "nd"},
    "no norms": {"transformer-postprocess": "da"},
    "root mean square behind": {"transformer-postprocess": "dar"},
    "root mean square before": {
        "transformer-preprocess": "r",
        "transformer-postprocess": "a",
        "transformer-postprocess-top": "r",
    },
    "relu": {"transformer-ffn-activation": "relu"},
    "gelu": {"transformer-ffn-activation": "gelu"},
    "depths": {"transformer-ffn-depth": 3, "transformer-decoder-ffn-depth": 4},
    "widths": {"transformer-decoder-dim-ffn": 40, "transformer-heads": 4, "dec-depth": 3},
    "no projection": {"transformer-no-projection": True},
    "tied layers": {"transformer-tied-layers": [2, 2, 1], "dec-depth": 3},
    "nothing tied": UNTIED,
    "nothing tied, old": UNTIED,
    "target tied": {**UNTIED, "tied-embeddings": True},
    "source tied": {**UNTIED, "tied-embeddings-src": True},
    "no output bias": {"output-omit-bias": True},
    "ssru": SSRU,
    "ssru, pre-norm": {**SSRU, **PRE_NORM},
    "ssru, projection": {**SSRU, "transformer-rnn-projection": True},
    "ssru, no projection of attention": {**SSRU, "transformer-no-projection": True},
    "average": AVERAGE,
    "average, no gate": {**AVERAGE, "transformer-aan-nogate": True},
    "average, three layers": {
        **AVERAGE,
        "transformer-aan-depth": 3,
        "transformer-aan-activation": "relu",
    },
    "average, one width": {**AVERAGE, "transformer-dim-aan": 16, "transformer-aan-depth": 3},
    "no positions": {"transformer-disable-position-embeddings": True},
}


def options(name: str) -> dict[str, Any]:
    """All options of a variant."""
    return {**_BASE, **VARIANTS[name]}


def yaml_text(values: Mapping[str, Any]) -> str:
    """Flat settings; YAML reads JSON's numbers, words and lists."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


def tensors(name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights, the same on every machine."""
    architecture = read_architecture(Settings(options(name), Path(name)))
    planned = plan_tensors(architecture, _NoTensors())
    shapes = {item.stored: item.shape for _, item in planned}
    if name.endswith("old"):
        shapes["decoder_ff_logit_out_W"] = shapes.pop("decoder_ff_logit_out_Wt")[::-1]
    return {stored: _weights(stored, shape) for stored, shape in shapes.items()}


class _NoTensors:
    shapes: ClassVar[dict[str, tuple[int, ...]]] = {}

    def dtype(self, name: str) -> str:
        raise KeyError(name)

    def read(self, name: str) -> npt.NDArray[np.float32]:
        raise KeyError(name)


def _weights(stored: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    # This generator's numbers never change.
    random = np.random.RandomState(zlib.crc32(stored.encode()))
    values = random.uniform(-1, 1, shape)
    if "scale" in stored:
        values = 1 + 0.5 * values
    elif shape[0] == 1:
        values = 0.4 * values
    else:
        width = 16 if "emb" in stored or "logit" in stored else shape[0]
        values = values * 2 * width**-0.5
    return np.asarray(values, np.float32)


def write_variant(folder: Path, name: str, change: Mapping[str, Any] | None = None) -> Path:
    """Writes model and vocabulary into a folder; gives the model's path.

    `change` are other options, or None for those to leave out.
    """
    (folder / "vocab.yml").write_text(VOCABULARY, encoding="utf-8")
    values = {**options(name), **(change or {})}
    kept = {key: value for key, value in values.items() if value is not None}
    return save(folder / "model.npz", tensors(name), kept)


def save(path: Path, weights: Mapping[str, Any], values: Mapping[str, Any] | None) -> Path:
    """Writes a model with any weights, and with options or without."""
    arrays = dict(weights)
    if values is not None:
        # Marian fills up with NULs.
        arrays["special:model.yml"] = np.frombuffer(yaml_text(values).encode() + b"\0\0", np.int8)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def _record(pymarian: str, name: str) -> list[list[float]]:
    """What Marian prints for one variant: the scores of each line's words and of </s>."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_variant(Path(folder), name)
        source, target = path.with_name("source"), path.with_name("target")
        for side, lines in ((source, SOURCES), (target, TARGETS)):
            side.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        files: dict[str, list[Path]] = {
            "--model": [path],
            "--vocabs": [path.with_name("vocab.yml")] * 2,
            "--train-sets": [source, target],
        }
        command = [pymarian, "score", "--word-scores", "--quiet", "--cpu-threads=1"]
        command += ["--mini-batch=1", "--maxi-batch=1", "--workspace=100"]
        command += [str(word) for key, paths in files.items() for word in (key, *paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    words = [line.partition("WordScores=")[2] for line in done.stdout.splitlines()]
    return [[float(score) for score in line.split()] for line in words]


if __name__ == "__main__":
    recorded = {name: _record(sys.argv[1], name) for name in VARIANTS}
    lines = [f"  {json.dumps(name)}: {json.dumps(scores)}" for name, scores in recorded.items()]
    SCORES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
