"""OpenNMT-py's checkpoints: its own outputs, its formulas, its versions, and broken files."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from opennmt_py_models import SOURCE, SOURCE_V2, TARGET, OpenNmt, save_with_fields
from pytransformer import Translator, loaders
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders import opennmt_py
from pytransformer.tokenizers import create
from random_models import make_engine
from torch_fixtures import (
    assert_same_logits,
    assert_survives_damage,
    same_lists,
    shared_models,
)

SIZES = len(SOURCE), len(TARGET)


@pytest.fixture(scope="module", params=["base", "shared"])
def trained(request: pytest.FixtureRequest, shared_data: Path) -> tuple[Path, Translator]:
    folder = shared_models(shared_data, "opennmt_py") / request.param
    return folder, Translator(folder)


def test_logits_of_trained_models(trained: tuple[Path, Translator]) -> None:
    folder, _ = trained
    engine = make_engine(loaders.load(folder))
    recorded = np.load(folder / "logits.npz")
    for i in range(5):
        source, target = (recorded[f"{n}_{i}"].tolist() for n in ("source_ids", "target_input_ids"))
        expected = recorded[f"all_logits_{i}"]
        np.testing.assert_allclose(engine.logits(source, target), expected, atol=1e-4)


def test_greedy_search_of_trained_models(trained: tuple[Path, Translator]) -> None:
    folder, translator = trained
    recorded = json.loads((folder / "greedy.json").read_text())
    found = translator.translate_batch(
        [item["source_pieces"] for item in recorded],
        beam_size=1,
        max_decoding_length=100,
        length_penalty=0,
        return_scores=True,
    )
    assert [r.hypotheses[0] for r in found] == [item["output_pieces"] for item in recorded]
    expected = [item["score_length_penalty_none"] for item in recorded]
    np.testing.assert_allclose([r.scores[0] for r in found], expected, atol=1e-3)


def test_beam_search_of_trained_models(trained: tuple[Path, Translator]) -> None:
    """Ranked by the sum it finds the same; its mean counts one token more than there are."""
    folder, translator = trained
    recorded = json.loads(gzip.decompress((folder / "beam4.json.gz").read_bytes()))
    sources = [item["source_pieces"] for item in recorded]
    for name, penalty, least in (("none", 0.0, 50), ("avg", 1.0, 45)):
        found = translator.translate_batch(
            sources, beam_size=4, max_decoding_length=100, length_penalty=penalty
        )
        expected = [item[f"length_penalty_{name}"][0]["pieces"] for item in recorded]
        assert same_lists([r.hypotheses[0] for r in found], expected) >= least


def test_text_with_a_sentencepiece_model(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_models(shared_data, "opennmt_py")
    shutil.copy(folder / "base" / "model_step_500.pt", tmp_path)
    lines = (folder / "source.txt").read_text().splitlines()
    pieces = (folder / "source.pieces.txt").read_text().splitlines()
    recorded = json.loads((folder / "base" / "greedy.json").read_text())
    words = Translator(tmp_path / "model_step_500.pt")
    expected = [" ".join(item["output_pieces"]) for item in recorded[:9]]
    assert words.translate(pieces[:9], beam_size=1) == expected
    shutil.copy(folder / "joint.model", tmp_path / "sentencepiece.model")
    texts = Translator(tmp_path)
    assert [" ".join(texts.tokenizer.encode(line)) for line in lines] == pieces
    expected = [text.replace(" ", "").replace("▁", " ").strip() for text in expected]
    assert texts.translate(lines[:9], beam_size=1) == expected


def saved(tmp_path: Path, model: OpenNmt, **settings: Any) -> Path:
    torch.save(model.checkpoint(), tmp_path / "model_step_7.pt", **settings)
    return tmp_path / "model_step_7.pt"


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "biases": {"add_qkvbias": True, "add_ffnbias": True, "pos_ffn_activation_fn": "gelu"},
    "attention biases": {"add_qkvbias": True, "norm_eps": 1e-2},
    "tied": {"share_decoder_embeddings": True},
    "concat": {"position_encoding_type": "SinusoidalConcat"},
    "no positions": {"position_encoding": False},
    "relative": {"position_encoding": False, "max_relative_positions": 4},
    "buckets": {
        "position_encoding": False,
        "max_relative_positions": 16,
        "relative_positions_buckets": 8,
    },
    "rotary": {
        "position_encoding": False,
        "max_relative_positions": -1,
        "layer_norm": "rms",
        "pos_ffn_activation_fn": "silu",
    },
    "rotary pairs": {
        "position_encoding": False,
        "max_relative_positions": -1,
        "rotary_interleave": True,
        "rotary_theta": 500,
        "rotary_dim": 4,
        "heads": 4,
        "num_kv": 2,
        "add_qkvbias": True,
    },
    "gated": {"pos_ffn_activation_fn": "gated-gelu", "add_ffnbias": True},
    "few keys": {"heads": 4, "num_kv": 1},
    "wide": {"hidden_size": 24, "heads": 3, "transformer_ff": 50, "enc_layers": 3},
    "layers": {"layers": 2, "enc_layers": 2},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_options(tmp_path: Path, options: dict[str, Any]) -> None:
    model = OpenNmt(**options)
    checkpoint = loaders.load(saved(tmp_path, model))
    assert_same_logits(checkpoint, model, SIZES)


def test_one_embedding_for_everything(tmp_path: Path) -> None:
    options = {"share_embeddings": True, "share_decoder_embeddings": True}
    model = OpenNmt((len(TARGET), len(TARGET)), **options)
    stored = model.checkpoint({"src": TARGET, "tgt": TARGET, "data_task": "seq2seq"})
    torch.save(stored, tmp_path / "x.pt")
    checkpoint = loaders.load(tmp_path)
    assert checkpoint.model.shared_embedding
    assert checkpoint.model.tied_output
    assert_same_logits(checkpoint, model, (len(TARGET), len(TARGET)))


@pytest.mark.parametrize("form", ["fields", "pairs", "vocabularies"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_older_versions(tmp_path: Path, form: str, legacy: bool) -> None:
    model = OpenNmt((len(SOURCE_V2), len(TARGET)), add_qkvbias=True, add_ffnbias=True)
    # Options that did not exist, and one that had another name.
    kept = ("heads", "enc_layers", "dec_layers", "position_encoding", "encoder_type")
    values = {name: getattr(model.options, name) for name in kept}
    model.options = argparse.Namespace(**values, rnn_size=16)
    path = tmp_path / "demo-model_step_9.pt"
    save_with_fields(model, path, form, _use_new_zipfile_serialization=not legacy)
    checkpoint = loaders.load(path)
    assert_same_logits(checkpoint, model, (len(SOURCE_V2), len(TARGET)))
    generation = checkpoint.generation
    assert (generation.decoder_start_token_id, generation.end_token_id) == (2, 3)
    assert (generation.length_penalty, generation.max_decoding_length) == (0.0, 100)
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    assert tokenizer.encode_ids("▁0  ▁12 zzz") == [2, 14, 0]
    assert tokenizer.decode([4, 0, 6, 3]) == "a <unk> c"


def test_custom_norms_of_the_first_versions(tmp_path: Path) -> None:
    model = OpenNmt()
    stored = model.checkpoint()
    stored["model"] = {
        name.replace("norm.weight", "norm.a_2")
        .replace("norm.bias", "norm.b_2")
        .replace("_1.weight", "_1.a_2" if "layer_norm_1" in name else "_1.weight")
        .replace("_1.bias", "_1.b_2")
        .replace("_2.weight", "_2.a_2" if "layer_norm_2" in name else "_2.weight")
        .replace("_2.bias", "_2.b_2"): tensor
        for name, tensor in stored["model"].items()
    }
    torch.save(stored, tmp_path / "x.pt")
    assert_same_logits(loaders.load(tmp_path / "x.pt"), model, SIZES)


def test_weights_in_safetensors(tmp_path: Path) -> None:
    model = OpenNmt()
    stored = model.checkpoint()
    names = {name: t.contiguous() for name, t in model.state_dict().items()}
    safetensors.torch.save_file(names, tmp_path / "m.safetensors")
    torch.save({key: stored[key] for key in ("vocab", "opt", "optim")}, tmp_path / "m.pt")
    for path in (tmp_path, tmp_path / "m.pt", tmp_path / "m.safetensors"):
        assert_same_logits(loaders.load(path), model, SIZES)
    (tmp_path / "m.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"m\.pt: no weights in it, and there is no m\.safe"):
        loaders.load(tmp_path / "m.pt")


def test_half_precision(tmp_path: Path) -> None:
    model = OpenNmt().half()
    torch.save(model.checkpoint(), tmp_path / "x.pt")
    assert_same_logits(loaders.load(tmp_path), model.float(), SIZES)


def test_defaults_and_tokens(tmp_path: Path) -> None:
    translator = Translator(saved(tmp_path, OpenNmt()))
    generation = loaders.load(tmp_path).generation
    assert (generation.beam_size, generation.length_penalty) == (5, 1.0)
    assert (generation.max_decoding_length, generation.forced_end_token_id) == (250, None)
    tokenizer = translator.tokenizer
    assert tokenizer.source_ids(["▁0", "▁3", "zzz"]) == [4, 7, 0]
    assert tokenizer.source_ids([]) == []
    (result,) = translator.translate_batch([["▁0", "▁3"]], beam_size=1)
    assert result.hypotheses == translator.translate_batch([[4, 7]], beam_size=1)[0].hypotheses


def test_several_checkpoints_in_a_directory(tmp_path: Path) -> None:
    shutil.copy(saved(tmp_path, OpenNmt()), tmp_path / "model_step_8.pt")
    with pytest.raises(CheckpointError, match=r"found model_step_7\.pt, model_step_8\.pt"):
        loaders.load(tmp_path)
    loaders.load(tmp_path / "model_step_8.pt")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"model_type": "audio"}, "model_type = 'audio'"),
        ({"model_task": "lm"}, "model_task = 'lm'"),
        ({"encoder_type": "brnn"}, "encoder_type = 'brnn'"),
        ({"decoder_type": "rnn"}, "decoder_type = 'rnn'"),
        ({"self_attn_type": "average"}, "self_attn_type = 'average'"),
        ({"copy_attn": True}, "copy_attn = True"),
        ({"generator_function": "sparsemax"}, "generator_function = 'sparsemax'"),
        ({"parallel_residual": True, "num_experts": 8}, "parallel_residual.*num_experts = 8"),
        ({"sliding_window": 128}, "sliding_window = 128"),
        ({"lora_layers": ["w_1"]}, "lora_layers = .'w_1'"),
        ({"quant_type": "awq_gemm"}, "quant_type"),
        ({"max_relative_positions": -2}, "ALiBi"),
        ({"max_relative_positions": -1, "rotary_dim": 4}, "rotary_dim 4"),
        ({"pos_ffn_activation_fn": "relu6"}, "'relu6' is not one of gated-gelu, gelu, relu, silu"),
        ({"position_encoding_type": "Learned"}, "'Learned' is not one of Sinusoidal"),
        ({"layer_norm": "batch"}, "'batch' is not one of rms, standard"),
    ],
    ids=str,
)
def test_unsupported_options(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    stored = OpenNmt().checkpoint()
    vars(stored["opt"]).update(options)
    torch.save(stored, tmp_path / "x.pt")
    with pytest.raises(UnsupportedModelError, match=rf"x\.pt: .*{fault}"):
        loaders.load(tmp_path / "x.pt")


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda stored: stored["model"].pop(name)


def with_value(part: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(stored: dict[str, Any]) -> None:
        values = stored[part]
        (values if isinstance(values, dict) else vars(values))[key] = value

    return change


LAYER = "decoder.transformer_layers.1."
EMBEDDING = "encoder.embeddings.make_embedding.emb_luts.0.weight"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without(f"{LAYER}layer_norm_2.bias"), r"missing: .*1\.layer_norm_2\.bias \(16,\)"),
        (with_value("model", f"{LAYER}x", torch.ones(3)), r"left over: .*1\.x \(3,\)"),
        (
            with_value("model", f"{LAYER}layer_norm_1.bias", torch.ones(3)),
            r"wrong shape: .*\(16,\)",
        ),
        (with_value("model", "decoder.layer_norm.bias", torch.full((16,), torch.nan)), "NaN"),
        (with_value("model", EMBEDDING, torch.ones(17, 15)), "2 heads cannot share 15 columns"),
        (without(EMBEDDING), "emb_luts.0.weight is missing"),
        (with_value("opt", "heads", 0), "heads should be an integer from 1"),
        (with_value("opt", "heads", [[]] * 9), "heads should be an integer"),
        (with_value("opt", "enc_layers", "two"), "enc_layers should be an integer"),
        (with_value("opt", "num_kv", 3), "num_kv should be a divisor of 2 heads"),
        (
            with_value("opt", "relative_positions_buckets", 8),
            "relative_positions_buckets should be",
        ),
        (with_value("vocab", "src", SOURCE[:-1]), r"wrong shape: .*should be \(16, 16\)"),
        (with_value("vocab", "src", [1, 2]), "word features .src. are not supported"),
        (with_value("vocab", "src", [("src", 2)]), "no vocabulary of the src side"),
        (with_value("vocab", "tgt", [1, 2]), "target vocabulary is not a list of tokens"),
        (with_value("vocab", "tgt", [*TARGET[:3], *TARGET[4:], "y"]), "has no '</s>'"),
        (with_value("vocab", "src", ["y", *SOURCE[1:]]), "source vocabulary has no '<unk>'"),
        (with_value("vocab", "decoder_start_token", "<x>"), "has no '<x>'"),
        (with_value("vocab", "decoder_start_token", 2), "should be a token"),
        (with_value("vocab", "src_feats", [["a"]]), "word features"),
        (lambda stored: stored.update(generator=[1]), "model and generator should map names"),
        (lambda stored: stored.update(vocab=7), "in no known form"),
        (lambda stored: stored.update(vocab={"src": 1, "tgt": 2}), "no vocabulary of the src side"),
        (lambda stored: stored.update(vocab=[("src_feat_0", 1)]), "word features"),
        (lambda stored: stored.update(extra=os.getcwd), "posix.getcwd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_checkpoint(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    stored = OpenNmt().checkpoint()
    change(stored)
    torch.save(stored, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=rf"(?s)x\.pt: .*{fault}"):
        loaders.load(tmp_path / "x.pt")


def test_option_that_is_endless_when_written_out(tmp_path: Path) -> None:
    stored = OpenNmt().checkpoint()
    value: Any = "x"
    for _ in range(100):
        value = [value, value]
    stored["opt"].heads = value
    torch.save(stored, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"heads should be an integer .* not '<list>'"):
        loaders.load(tmp_path / "x.pt")


def test_damage(tmp_path: Path) -> None:
    options = {"enc_layers": 1, "dec_layers": 1, "hidden_size": 4, "transformer_ff": 4}
    model = OpenNmt(position_encoding=False, **options)
    stored = model.checkpoint()
    stored["opt"] = argparse.Namespace(**options, heads=2)
    torch.save(stored, tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    assert_survives_damage(content, tmp_path / "x.pt", opennmt_py.load, 1000)


def test_damage_to_old_vocabularies(tmp_path: Path) -> None:
    sizes = len(SOURCE_V2), len(TARGET)
    model = OpenNmt(sizes, dec_layers=1, hidden_size=2, transformer_ff=1, position_encoding=False)
    path = tmp_path / "x.pt"
    model.options = argparse.Namespace(heads=1, enc_layers=1, dec_layers=1)
    save_with_fields(model, path, "fields", _use_new_zipfile_serialization=False)
    assert_survives_damage(path.read_bytes(), path, opennmt_py.load, 1000)


def test_unknown_tokens_are_replaced_by_any_word_of_the_source(tmp_path: Path) -> None:
    """Its sources have no end token: the last word is one like the others."""
    model = OpenNmt()
    with torch.no_grad():
        model.generator.bias[0] += 1e3
    translator = Translator(saved(tmp_path, model))
    found = set()
    for i in range(4, 12):
        source = [SOURCE[i], SOURCE[i + 3], SOURCE[i + 5]]
        options = {"beam_size": 1, "max_decoding_length": 6, "replace_unknowns": True}
        (result,) = translator.translate_batch([source], return_attention=True, **options)
        attention = result.attention[0]
        expected = [source[column] for column in attention.argmax(axis=1)]
        assert result.hypotheses[0] == expected
        found.update(source.index(word) for word in expected)
    assert found == {0, 1, 2}
