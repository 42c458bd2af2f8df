"""BERT and ViT as versions old and new have stored them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from checkpoints import edit_json, read_state, write_bin, write_state
from huggingface_alone import make_bert, make_gpt2, make_vit
from pytransformer import (
    CheckpointError,
    Encoder,
    EncoderOutput,
    Generator,
    Translator,
    UnsupportedModelError,
)
from pytransformer.cli import main

TEXTS = ["the dog ran", "a cat and a house.", "she"]
State = dict[str, torch.Tensor]


def assert_same(found: EncoderOutput, expected: EncoderOutput, *, heads: bool = True) -> None:
    """Bit for bit."""
    for ours, theirs in zip(found.last_hidden_state, expected.last_hidden_state, strict=True):
        assert np.array_equal(ours, theirs)
    if heads:
        assert np.array_equal(found.pooler_output, expected.pooler_output)
        assert np.array_equal(found.logits, expected.logits)


def rewrite(path: Path, change: Callable[[State], State]) -> None:
    write_state(path, change(read_state(path)))


def test_names_of_the_first_checkpoints(tmp_path: Path) -> None:
    make_bert(tmp_path)
    expected = Encoder(tmp_path).encode(TEXTS)

    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )

    rewrite(tmp_path, lambda state: {old(name): tensor for name, tensor in state.items()})
    assert_same(Encoder(tmp_path).encode(TEXTS), expected)


def test_buffers_that_are_no_weights(tmp_path: Path) -> None:
    make_bert(tmp_path)
    expected = Encoder(tmp_path).encode(TEXTS)
    positions = {"bert.embeddings.position_ids": torch.arange(70)[None]}
    write_bin(tmp_path, {**read_state(tmp_path), **positions}, shards=1)
    (tmp_path / "model.safetensors").unlink()
    assert_same(Encoder(tmp_path).encode(TEXTS), expected)


def test_heads_of_pretraining_are_not_used(tmp_path: Path) -> None:
    """As by transformers' BertModel; the pooler is there, the classifier is not."""
    make_bert(tmp_path)
    expected = Encoder(tmp_path).encode(TEXTS)
    shape = {"hidden_size": 45, "num_hidden_layers": 3, "num_attention_heads": 3}
    sizes = {"intermediate_size": 61, "max_position_embeddings": 70}
    vocabulary = len((tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines())
    model = BertForPreTraining(BertConfig(vocab_size=vocabulary, **shape, **sizes))
    model.load_state_dict(read_state(tmp_path), strict=False)
    model.save_pretrained(tmp_path)
    for architecture in (["BertForPreTraining"], ["BertForMaskedLM"], ["BertModel"], None):
        edit_json(tmp_path / "config.json", {"architectures": architecture})
        found = Encoder(tmp_path).encode(TEXTS)
        assert_same(found, expected, heads=False)
        assert np.array_equal(found.pooler_output, expected.pooler_output)
        assert found.logits is None


def test_what_a_classifier_reads(tmp_path: Path) -> None:
    """Where nothing names the class, a classifier behind a pooler is one of whole texts."""
    make_bert(tmp_path)
    expected = Encoder(tmp_path).encode(TEXTS)
    edit_json(tmp_path / "config.json", {"architectures": None})
    assert_same(Encoder(tmp_path).encode(TEXTS), expected)
    rewrite(tmp_path, lambda state: {n: t for n, t in state.items() if "pooler" not in n})
    with pytest.raises(CheckpointError, match=r"left over: classifier.bias \(3,\)"):
        Encoder(tmp_path)


def test_encoder_without_a_pooler(tmp_path: Path) -> None:
    make_bert(tmp_path, "model")
    expected = Encoder(tmp_path).encode(TEXTS)
    assert expected.pooler_output is not None
    rewrite(tmp_path, lambda state: {n: t for n, t in state.items() if "pooler" not in n})
    found = Encoder(tmp_path).encode(TEXTS)
    assert_same(found, expected, heads=False)
    assert found.pooler_output is None


@pytest.mark.parametrize("kind", ["model", "classifier"])
def test_bert_in_memory(kind: str, tmp_path: Path) -> None:
    model = make_bert(tmp_path, kind)
    files = {"vocab.txt": (tmp_path / "vocab.txt").read_bytes()}
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    encoder = Encoder.from_state_dict(model.config.to_dict(), state, files=files)
    assert_same(encoder.encode(TEXTS), Encoder(tmp_path).encode(TEXTS))


@pytest.mark.parametrize("kind", ["model", "classifier"])
def test_vit_in_memory(kind: str, tmp_path: Path) -> None:
    """transformers 5 has other names in memory than in files."""
    model = make_vit(tmp_path, kind)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    encoder = Encoder.from_state_dict(model.config.to_dict(), state)
    pictures = np.random.default_rng(0).normal(size=(2, 3, 30, 44))
    assert_same(encoder.encode(pictures), Encoder(tmp_path).encode(pictures))


def test_a_vit_that_was_trained_with_masks(tmp_path: Path) -> None:
    make_vit(tmp_path, "model")
    pictures = np.random.default_rng(0).normal(size=(2, 3, 30, 44))
    expected = Encoder(tmp_path).encode(pictures)
    rewrite(tmp_path, lambda state: {**state, "embeddings.mask_token": torch.ones(1, 1, 45)})
    assert_same(Encoder(tmp_path).encode(pictures), expected)


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
@pytest.mark.parametrize("name", ["bert", "vit"])
def test_conversion(
    name: str, compute_type: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The native file, and what `info` says of it."""
    path, native = tmp_path / "model", tmp_path / "native"
    inputs: Any = TEXTS
    if name == "bert":
        make_bert(path)
    else:
        make_vit(path)
        inputs = np.random.default_rng(0).normal(size=(2, 3, 30, 44))
    assert main(["convert", str(path), str(native), "--compute-type", compute_type]) == 0
    expected = Encoder(path, compute_type=compute_type)
    assert_same(Encoder(native).encode(inputs), expected.encode(inputs))
    assert Encoder(native).classify(inputs) == expected.classify(inputs)
    again = tmp_path / "again"
    assert main(["convert", str(native), str(again), "--compute-type", "bfloat16"]) == 0
    assert Encoder(again).compute_type == "bfloat16"
    capsys.readouterr()
    assert main(["info", str(native)]) == 0
    facts = capsys.readouterr().out
    assert "encoder          3 layers, d_model 45" in facts
    assert "decoder" not in facts
    assert "LABEL_0, LABEL_1" in facts
    assert ("tokens\npositions" in facts) == (name == "bert")
    assert ("pictures of 30 x 44" in facts) == (name == "vit")
    assert f"compute type     {compute_type}" in facts


def test_each_model_is_opened_by_its_own_class(tmp_path: Path) -> None:
    make_bert(tmp_path / "bert")
    make_gpt2(tmp_path / "gpt2")
    main(["convert", str(tmp_path / "bert"), str(tmp_path / "native")])
    for path in (tmp_path / "bert", tmp_path / "native"):
        for kind in (Translator, Generator):
            message = f"{path}: this is an encoder alone; use pytransformer.Encoder"
            with pytest.raises(UnsupportedModelError, match=message):
                kind(path)
    for kind in (Translator, Encoder):
        with pytest.raises(UnsupportedModelError, match=r"a decoder alone; use .*Generator"):
            kind(tmp_path / "gpt2")


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "relative": ("bert", {"position_embedding_type": "relative_key"}, "'relative_key'"),
    "decoder": ("bert", {"is_decoder": True}, "is_decoder = true"),
    "cross": ("bert", {"add_cross_attention": True}, "add_cross_attention = true"),
    "tokens": ("bert", {"architectures": ["BertForTokenClassification"]}, "single tokens"),
    "answers": ("bert", {"architectures": ["BertForQuestionAnswering"]}, "marks answers"),
    "choice": ("bert", {"architectures": ["BertForMultipleChoice"]}, "several texts"),
    "activation": ("bert", {"hidden_act": "mish"}, "hidden_act 'mish'"),
    "masks": ("vit", {"architectures": ["ViTForMaskedImageModeling"]}, "restores pictures"),
    "pooler": ("vit", {"pooler_act": "mish"}, "pooler_act 'mish'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_settings(case: str, tmp_path: Path) -> None:
    name, changes, message = REFUSED[case]
    (make_bert if name == "bert" else make_vit)(tmp_path)
    edit_json(tmp_path / "config.json", changes)
    with pytest.raises(UnsupportedModelError, match=message) as error:
        Encoder(tmp_path)
    assert str(tmp_path) in str(error.value)


BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "heads": ("bert", {"num_attention_heads": 4}, "not divisible by 4 heads"),
    "layers": ("bert", {"num_hidden_layers": 4}, "missing: bert.encoder.layer.3"),
    "fewer-layers": ("bert", {"num_hidden_layers": 2}, "left over: bert.encoder.layer.2"),
    "types": ("bert", {"type_vocab_size": 3}, "token_type_embeddings.weight is"),
    "many-types": ("bert", {"type_vocab_size": 300}, "type_vocab_size should be"),
    "words": ("bert", {"vocab_size": 9}, "word_embeddings.weight is"),
    "labels": ("bert", {"id2label": {"0": "a", "1": "b"}}, "classifier.weight is"),
    "no-labels": ("bert", {"id2label": {"1": "a"}}, "id2label should be"),
    "label-names": ("bert", {"id2label": {"0": 1, "1": 2, "2": 3}}, "id2label should be"),
    "problem": ("bert", {"problem_type": "other"}, "problem_type should be one of"),
    "epsilon": ("bert", {"layer_norm_eps": "x"}, "layer_norm_eps should be a finite number"),
    "patches": ("vit", {"patch_size": [7, 5]}, "projection.weight is"),
    "no-patch": ("vit", {"patch_size": 45}, "make 0 patches"),
    "picture": ("vit", {"image_size": [30]}, "image_size should be a number, or a height"),
    "channels": ("vit", {"num_channels": 4}, "projection.weight is"),
    "picture-size": ("vit", {"image_size": [30, 40]}, "position_embeddings is"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_settings(case: str, tmp_path: Path) -> None:
    name, changes, message = BROKEN[case]
    (make_bert if name == "bert" else make_vit)(tmp_path)
    edit_json(tmp_path / "config.json", changes)
    with pytest.raises(CheckpointError, match=message) as error:
        Encoder(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    make_bert(tmp_path)
    name = "bert.embeddings.token_type_embeddings.weight"
    rewrite(tmp_path, lambda state: {**state, name: torch.full((2, 45), torch.nan)})
    with pytest.raises(CheckpointError, match=f"NaN or infinite weights:\n  {name}"):
        Encoder(tmp_path)
