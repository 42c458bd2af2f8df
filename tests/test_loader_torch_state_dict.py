"""State dicts of PyTorch with a description in JSON: tutorials, their options, and broken files."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from checkpoints import train_pieces
from pytransformer import Translator, loaders
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders import state_dict
from pytransformer.model_spec import Checkpoint
from pytransformer.tokenizers import create
from random_models import make_engine
from state_dict_models import (
    HEADS,
    INNER,
    SIZES,
    WIDTH,
    Annotated,
    Apart,
    Seq2Seq,
    Tutorial,
    greedy,
    renamed,
)
from torch_fixtures import assert_same_logits, assert_survives_damage, shared_models

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")

SPECIAL = {"bos_token_id": 2, "eos_token_id": 3, "unk_token_id": 0}
PYTORCH = {"architecture": "nn.Transformer", "nhead": HEADS, **SPECIAL}
ANNOTATED = {"architecture": "annotated_transformer", "nhead": HEADS, **SPECIAL}
SEQ2SEQ = {"architecture": "pytorch_seq2seq", "nhead": HEADS, **SPECIAL}


def saved(folder: Path, state: Any, description: dict[str, Any], name: str = "config.json") -> Path:
    torch.save(state, folder / "model.pt")
    (folder / name).write_text(json.dumps(description))
    return folder


def assert_equal_to(checkpoint: Checkpoint, model: nn.Module, longest: int = 20) -> None:
    """The same logits, and the same tokens step by step."""
    assert_same_logits(checkpoint, model, SIZES, longest)
    translator = Translator(checkpoint)
    rng = np.random.default_rng(3)
    for length in (1, 4, 9):
        source = [2, *rng.integers(4, SIZES[0], length).tolist(), 3]
        (found,) = translator.translate_batch([source], max_decoding_length=longest)
        assert found.ids[0] == greedy(model, source, start=2, end=3, longest=longest)


@pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize(("activation", "epsilon"), [("relu", 1e-5), ("gelu", 1e-2)])
def test_tutorial_of_pytorch(
    tmp_path: Path, norm_first: bool, bias: bool, activation: str, epsilon: float
) -> None:
    options = {"norm_first": norm_first, "activation": activation, "layer_norm_eps": epsilon}
    model = Tutorial(bias=bias, **options)
    sizes = {
        "d_model": WIDTH,
        "dim_feedforward": INNER,
        "num_encoder_layers": 2,
        "num_decoder_layers": 1,
        "bias": bias,
        "dropout": 0.1,
        "batch_first": True,
    }
    saved(tmp_path, model.state_dict(), {**PYTORCH, **options, **sizes})
    checkpoint = loaders.load(tmp_path)
    assert checkpoint.model.encoder.positions.kind == "sinusoidal_interleaved"
    assert_equal_to(checkpoint, model)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gelu_tanh", partial(nn.functional.gelu, approximate="tanh")),
        ("silu", nn.functional.silu),
        ("tanh", torch.tanh),
    ],
)
def test_other_activations(tmp_path: Path, name: str, function: Any) -> None:
    model = Tutorial(activation=function)
    saved(tmp_path, model.state_dict(), {**PYTORCH, "activation": name})
    assert_equal_to(loaders.load(tmp_path), model)


def test_encoder_and_decoder_apart(tmp_path: Path) -> None:
    model = Apart()
    saved(tmp_path, model.state_dict(), {**PYTORCH, "embedding_scale": 1})
    checkpoint = loaders.load(tmp_path)
    assert checkpoint.model.tied_output
    assert not checkpoint.model.decoder.final_norm
    assert checkpoint.model.decoder.positions.max_length == 25
    assert_equal_to(checkpoint, model)


NAMES = [
    {"src_tok_emb.embedding": "src_embedding", "tgt_tok_emb.embedding": "tgt_embedding"},
    {"src_tok_emb.embedding": "encoder_embedding", "tgt_tok_emb.embedding": "decoder_embedding"},
    {"generator": "fc_out", "positional_encoding.pos_embedding": "pos_encoder.pe"},
    {"generator": "out", "transformer.": "model.transformer."},
    {"": ""},
]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_usual_names(tmp_path: Path, names: dict[str, str], prefix: str) -> None:
    model = Tutorial()
    state = renamed(model.state_dict(), names) if "" not in names else model.state_dict()
    saved(tmp_path, {prefix + name: tensor for name, tensor in state.items()}, PYTORCH)
    assert_same_logits(loaders.load(tmp_path), model, SIZES)


def test_given_names(tmp_path: Path) -> None:
    model = Tutorial()
    odd = {"src_tok_emb.embedding": "a", "tgt_tok_emb.embedding": "b", "generator": "c"}
    state = renamed(model.state_dict(), {**odd, "positional_encoding.pos_embedding": "d"})
    state["some_mask"] = torch.zeros(3)
    names = {"source_embedding": "a.weight", "target_embedding": "b.weight", "output": "c.weight"}
    description = {**PYTORCH, "names": {**names, "positions": "d"}, "unused": ["some_mask"]}
    saved(tmp_path, state, description)
    assert_same_logits(loaders.load(tmp_path), model, SIZES)
    for key in ("source_embedding", "target_embedding", "output"):
        fewer = {name: value for name, value in names.items() if name != key}
        saved(tmp_path, state, {**description, "names": fewer})
        with pytest.raises(CheckpointError, match=f"give its name as names.{key}"):
            loaders.load(tmp_path)
    saved(tmp_path, state, {**description, "unused": []})
    with pytest.raises(CheckpointError, match="left over: some_mask"):
        loaders.load(tmp_path)


def test_positions_that_are_not_stored(tmp_path: Path) -> None:
    model = Tutorial()
    state = model.state_dict()
    del state["positional_encoding.pos_embedding"]
    saved(tmp_path, state, {**PYTORCH, "positions": "sinusoidal_interleaved", "max_length": 50})
    assert_same_logits(loaders.load(tmp_path), model, SIZES)
    saved(tmp_path, state, PYTORCH)
    with pytest.raises(UnsupportedModelError, match="positions '' is not one of none, sinusoidal"):
        loaders.load(tmp_path)


def test_positions_that_are_none_of_the_paper(tmp_path: Path) -> None:
    model = Tutorial()
    with torch.no_grad():
        model.positional_encoding.pos_embedding[7, 0, 3] += 0.5
    saved(tmp_path, model.state_dict(), PYTORCH)
    checkpoint = loaders.load(tmp_path)
    assert checkpoint.model.encoder.positions.kind == "learned"
    assert_same_logits(checkpoint, model, SIZES)


def test_the_annotated_transformer(tmp_path: Path) -> None:
    model = Annotated()
    saved(tmp_path, model.state_dict(), ANNOTATED)
    assert_equal_to(loaders.load(tmp_path), model)


@pytest.mark.parametrize("one_norm", [False, True])
def test_pytorch_seq2seq(tmp_path: Path, one_norm: bool) -> None:
    model = Seq2Seq(one_norm=one_norm)
    saved(tmp_path, model.state_dict(), SEQ2SEQ)
    checkpoint = loaders.load(tmp_path)
    assert checkpoint.generation.max_decoding_length == 39
    assert_equal_to(checkpoint, model)


def test_forms_of_files(tmp_path: Path) -> None:
    model = Seq2Seq()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name in ("a.safetensors", "a.pth", "a.bin", "a.pt"):
        folder = tmp_path / name
        folder.mkdir()
        if name.endswith("safetensors"):
            safetensors.torch.save_file(state, folder / name)
        else:
            torch.save(state, folder / name, _use_new_zipfile_serialization=name != "a.bin")
        (folder / "a.json").write_text(json.dumps(SEQ2SEQ))
        for path in (folder / name, folder / "a.json"):
            assert_same_logits(loaders.load(path), model, SIZES)
        (folder / "a.json").rename(folder / "model.json")
        assert_same_logits(loaders.load(folder), model, SIZES)


def test_training_checkpoint(tmp_path: Path) -> None:
    model = Tutorial()
    optimizer = torch.optim.Adam(model.parameters())
    model([1], [2]).sum().backward()
    optimizer.step()
    stored = {
        "epoch": 7,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": torch.tensor(1.5),
    }
    saved(tmp_path, stored, PYTORCH)
    assert_same_logits(loaders.load(tmp_path), model, SIZES)
    saved(tmp_path, {**stored, "ema": model.state_dict()}, PYTORCH)
    with pytest.raises(CheckpointError, match="a dictionary with one of them, not with 2"):
        loaders.load(tmp_path)
    saved(tmp_path, {"epoch": 7}, PYTORCH)
    with pytest.raises(CheckpointError, match="not with 0"):
        loaders.load(tmp_path)


def test_words(tmp_path: Path) -> None:
    source = ["<unk>", "<pad>", "<sos>", "<eos>", *(f"s{i}" for i in range(SIZES[0] - 4))]
    target = ["<unk>", "<pad>", "<sos>", "<eos>", *(f"t{i}" for i in range(SIZES[1] - 4))]
    description = {key: SEQ2SEQ[key] for key in ("architecture", "nhead")}
    lists = {"source_vocabulary": "src.txt", "target_vocabulary": "trg.json", "beam_size": 3}
    saved(tmp_path, Seq2Seq().state_dict(), {**description, **lists, "max_decoding_length": 9})
    (tmp_path / "src.txt").write_text("\n".join(source) + "\n")
    (tmp_path / "trg.json").write_text(json.dumps(target))
    checkpoint = loaders.load(tmp_path)
    assert (checkpoint.generation.beam_size, checkpoint.generation.max_decoding_length) == (3, 9)
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    assert tokenizer.encode("s0  s2") == ["<sos>", "s0", "s2"]
    assert tokenizer.encode_ids("s0  s2 zzz") == [2, 4, 6, 0, 3]
    assert tokenizer.source_ids(["s0"]) == [4, 3]
    assert tokenizer.decode([2, 4, 0, 5, 3]) == "t0 <unk> t1"
    translator = Translator(tmp_path)
    assert translator.translate("s0 s2") == translator.translate(["s0 s2"])[0]


def test_sentencepiece(tmp_path: Path) -> None:
    pieces = train_pieces("de")
    description = {**{key: PYTORCH[key] for key in ("architecture", "nhead")}, "source_bos": False}
    (tmp_path / "joint.model").write_bytes(pieces)
    model = Tutorial()
    saved(tmp_path, model.state_dict(), {**description, "vocabulary": "joint.model"})
    with pytest.raises(CheckpointError, match="tokens, but the embedding has 15 rows for them"):
        loaders.load(tmp_path)
    (tmp_path / "words.txt").write_text("<unk>\n<s>\n</s>\n▁ein\n▁Hund\n")
    (tmp_path / "sentencepiece.model").write_bytes(pieces)
    saved(tmp_path, model.state_dict(), {**description, "vocabulary": "words.txt"})
    checkpoint = loaders.load(tmp_path)
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    assert tokenizer.encode_ids("ein Hund") == [3, 4, 2]
    assert tokenizer.decode([3, 4, 2]) == "ein Hund"


def test_trained_annotated_transformer(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_models(shared_data, "annotated")
    for name in ("model.pt", "joint300.model"):
        shutil.copy(folder / name, tmp_path)
    description = {"architecture": "annotated_transformer", "nhead": 4}
    description |= {"vocabulary": "joint300.model", "max_decoding_length": 98}
    (tmp_path / "config.json").write_text(json.dumps(description))
    engine, translator = make_engine(loaders.load(tmp_path)), Translator(tmp_path)
    recorded = json.loads((folder / "greedy.json").read_text())
    logits = np.load(folder / "logits.npz")
    for i in range(5):
        found = engine.logits(recorded[i]["source_ids"], recorded[i]["output_ids"][:-1])
        np.testing.assert_allclose(found, logits[f"all_logits_{i}"], atol=1e-4)
    lines = (folder / "source.txt").read_text().splitlines()
    assert translator.translate(lines) == [item["text"] for item in recorded]
    results = translator.translate_batch([item["source_ids"] for item in recorded])
    assert [r.ids[0] for r in results] == [item["output_ids"][1:-1] for item in recorded]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"nhead": None}, "encoder_heads should be an integer from 1|nhead"),
        ({"nhead": 3}, "3 heads cannot share 16 columns"),
        ({"nhead": "2"}, "nhead should be an integer"),
        ({"d_model": 512}, "d_model is 512, but the weights have 16"),
        ({"num_decoder_layers": 6}, "num_decoder_layers is 6, but the weights have 1"),
        ({"dim_feedforward": "x"}, "dim_feedforward should be an integer"),
        ({"bias": False}, "bias should be true, as the weights are"),
        ({"norm_first": 1}, "norm_first should be true or false"),
        ({"activation": "elu"}, "activation 'elu' is not one of gelu, gelu_tanh, relu"),
        ({"layer_norm_eps": "1e-5"}, "layer_norm_eps should be a finite number"),
        ({"positions": "sinusoidal"}, "positions is given, but positional_encoding.pos_embedding"),
        ({"n_heads": 2, "heads": 2}, "unknown: heads, n_heads; known: activation, arch"),
        ({"names": ["a"]}, "names should be an object"),
        ({"names": {"output": "x.weight"}}, r"missing: x\.weight"),
        ({"names": {"positions": "generator.bias"}}, "generator.bias is .*, no table of positions"),
        ({"unused": "x"}, "unused should be a list of names"),
        ({"weights": "other.pt"}, "weights should be a file in"),
        ({"weights": "../model.pt"}, "weights should be a file in"),
        ({"vocabulary": "none.txt"}, "vocabulary should be a file in"),
        ({"vocabulary": "../x.txt"}, "vocabulary should be a file in"),
        ({"bos_token_id": 99}, "bos_token_id should be an integer from 0 to 16"),
        ({"decoder_start_token_id": 17}, "decoder_start_token_id should be below 17"),
        ({"max_decoding_length": 50}, "max_decoding_length should be an integer from 1 to 49"),
        ({"beam_size": 0}, "beam_size should be an integer from 1"),
        (
            {"bos_token_id": 16},
            "the source vocabulary has no '16', which is the target's bos_token",
        ),
        (
            {"eos_token_id": None},
            "eos_token_id is needed, since the target vocabulary has no token",
        ),
    ],
    ids=str,
)
def test_wrong_description(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    saved(tmp_path, Tutorial().state_dict(), {**PYTORCH, **changes})
    with pytest.raises(CheckpointError, match=rf"(?s){tmp_path}.*({fault})"):
        loaders.load(tmp_path)


@pytest.mark.parametrize(
    ("model", "description", "changes", "fault"),
    [
        (Annotated, ANNOTATED, {"norm_first": False}, "norm_first should be true for annotated"),
        (Seq2Seq, SEQ2SEQ, {"norm_first": True}, "norm_first should be false for pytorch_seq2seq"),
        (Seq2Seq, PYTORCH, {}, "0 tensors are named .*multihead_attn.in_proj_weight"),
        (Tutorial, ANNOTATED, {}, "usual name of the source embedding"),
    ],
)
def test_description_of_another_model(
    tmp_path: Path, model: type, description: dict[str, Any], changes: dict[str, Any], fault: str
) -> None:
    saved(tmp_path, model().state_dict(), {**description, **changes})
    with pytest.raises(CheckpointError, match=fault):
        loaders.load(tmp_path)


def test_files_without_a_description(tmp_path: Path) -> None:
    model = Tutorial()
    contents = {
        "a state dict": model.state_dict(),
        "a dictionary with 'net', 'epoch'": {"net": model.state_dict(), "epoch": 3},
        r"an object of the class state_dict_models\.Tutorial": model,
    }
    for description, content in contents.items():
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=rf"{description}, and no x\.json beside it"):
            loaders.load(tmp_path / "x.pt")
    saved(tmp_path, model, PYTORCH)
    (tmp_path / "x.pt").unlink()
    with pytest.raises(CheckpointError, match=r"the pickle names state_dict_models\.Tutorial"):
        loaders.load(tmp_path)
    saved(tmp_path, {**model.state_dict(), "x": os.getcwd}, PYTORCH)
    with pytest.raises(CheckpointError, match=r"the pickle names posix\.getcwd"):
        loaders.load(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        loaders.load(tmp_path / "model.pt")


def test_several_weights(tmp_path: Path) -> None:
    saved(tmp_path, Seq2Seq().state_dict(), SEQ2SEQ)
    shutil.copy(tmp_path / "model.pt", tmp_path / "other.bin")
    with pytest.raises(CheckpointError, match=r"weights should name one of model\.pt, other\.bin"):
        loaders.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**SEQ2SEQ, "weights": "other.bin"}))
    loaders.load(tmp_path)


def test_damage_to_weights(tmp_path: Path) -> None:
    saved(tmp_path, Seq2Seq().state_dict(), SEQ2SEQ)
    content = (tmp_path / "model.pt").read_bytes()
    assert_survives_damage(content, tmp_path / "model.pt", lambda _: state_dict.load(tmp_path), 500)


def test_damage_to_the_description(tmp_path: Path) -> None:
    saved(tmp_path, Seq2Seq().state_dict(), SEQ2SEQ)
    source = state_dict.open_state_dict(tmp_path / "model.pt")

    def load(path: Path) -> Checkpoint:
        return state_dict.build(tmp_path, loaders.huggingface.Settings.read(path), source)

    content = json.dumps({**SEQ2SEQ, "max_decoding_length": 9, "beam_size": 4}).encode()
    assert_survives_damage(content, tmp_path / "config.json", load, 2000)
