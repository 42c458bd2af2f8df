"""Models in memory: configurations with arrays, as Translator.from_state_dict takes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints import MarianCheckpoint
from pytransformer import Translator
from pytransformer.errors import CheckpointError
from pytransformer.loaders.memory import load_from_memory
from state_dict_models import HEADS, SIZES, Tutorial
from torch_fixtures import assert_same_logits

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")

PYTORCH = {
    "architecture": "nn.Transformer",
    "nhead": HEADS,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "unk_token_id": 0,
}


def test_hugging_face(marian: MarianCheckpoint) -> None:
    """Marian's, with all files of the directory but the weights."""
    files = {
        path.name: path.read_bytes()
        for path in marian.path.iterdir()
        if path.suffix != ".safetensors" and path.name != "config.json"
    }
    config = json.loads((marian.path / "config.json").read_text())
    arrays = {name: tensor.numpy() for name, tensor in marian.model.state_dict().items()}
    translator = Translator.from_state_dict(config, arrays, files=files)
    lines = ["ein Hund", "der alte Mann läuft schnell"]
    assert translator.translate(lines) == Translator(marian.path).translate(lines)
    del files["source.spm"]
    with pytest.raises(CheckpointError, match=r"source\.spm"):
        load_from_memory(config, arrays, files)


def test_description_of_a_state_dict() -> None:
    model = Tutorial()
    files = {"words.json": json.dumps(["<unk>", "<bos>", "<eos>", "a", "b"]).encode()}
    description = {"architecture": "nn.Transformer", "nhead": HEADS, "vocabulary": "words.json"}
    for dtype in (torch.float64, torch.float32, torch.float16):
        changed = model.to(dtype)
        arrays = {name: tensor.numpy() for name, tensor in changed.state_dict().items()}
        checkpoint = load_from_memory(description, arrays, files)
        assert_same_logits(checkpoint, model.float(), SIZES)
    translator = Translator.from_state_dict(description, arrays, files=files)
    assert translator.tokenizer.encode_ids("b a") == [1, 4, 3, 2]
    translator.translate("b a", max_decoding_length=5)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"tensors": {"x": np.ones(3, np.int64)}}, "tensor 'x' is int64, expected one of float64"),
        ({"tensors": {"x": ["a"]}}, "tensor 'x' is <U1"),
        ({"files": {"../x": b""}}, "a plain name, not '../x'"),
        ({"config": {"architecture": "fnet"}}, "config describes no model of a known kind"),
        ({"config": {"architecture": ["nn.Transformer"]}}, "no model of a known kind"),
        ({"config": {"model_type": "no type"}}, "no model of a known kind"),
        ({"config": {"architecture": print}}, "not what JSON can hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_things_in_memory(change: dict[str, Any], fault: str) -> None:
    arguments: dict[str, Any] = {"config": PYTORCH, "tensors": {}, "files": {}, **change}
    with pytest.raises(CheckpointError, match=fault):
        load_from_memory(**arguments)


def test_nan_in_memory() -> None:
    arrays = {name: tensor.numpy() for name, tensor in Tutorial().state_dict().items()}
    arrays["generator.bias"] = np.full(SIZES[1], 1e300)
    with pytest.raises(CheckpointError, match=r"NaN or infinite weights:\s+generator.bias"):
        load_from_memory(PYTORCH, arrays)
