"""GPT-2 as versions old and new have stored it, its tokenizer, and what is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPT2Model

from checkpoints import edit_json, read_state, write_bin, write_state
from huggingface_alone import make_gpt2
from pytransformer import CheckpointError, Generator, UnsupportedModelError
from pytransformer.cli import main
from tokenizer_pairs import TEXTS, Pair

PROMPTS = [[5, 9, 300], [270], [12] * 20]
State = dict[str, torch.Tensor]


def results(generator: Generator) -> Any:
    """Everything, bit for bit."""
    options: dict[str, Any] = {"return_scores": True, "max_decoding_length": 20}
    return generator.generate_batch(PROMPTS, **options), generator.score_batch(PROMPTS)


def rewrite(path: Path, change: Callable[[State], State]) -> None:
    write_state(path, change(read_state(path)))


def test_names_without_a_prefix(tmp_path: Path) -> None:
    """As GPT2Model stores it, and the first checkpoints were stored."""
    make_gpt2(tmp_path)
    expected = results(Generator(tmp_path))
    GPT2Model.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert not any(name.startswith("transformer.") for name in read_state(tmp_path))
    assert results(Generator(tmp_path)) == expected


def test_masks_that_are_no_weights(tmp_path: Path) -> None:
    make_gpt2(tmp_path)
    expected = results(Generator(tmp_path))
    masks: State = {}
    for layer in range(3):
        name = f"transformer.h.{layer}.attn."
        masks[f"{name}bias"] = torch.ones(90, 90).tril().bool()[None, None]
        masks[f"{name}masked_bias"] = torch.tensor(-1e4)
    write_bin(tmp_path, {**read_state(tmp_path), **masks}, shards=1)
    (tmp_path / "model.safetensors").unlink()
    assert results(Generator(tmp_path)) == expected


def test_a_copy_of_the_embedding_as_the_output(tmp_path: Path) -> None:
    make_gpt2(tmp_path)
    expected = results(Generator(tmp_path))
    rewrite(tmp_path, lambda s: {**s, "lm_head.weight": s["transformer.wte.weight"].clone()})
    assert results(Generator(tmp_path)) == expected
    tied = Generator(tmp_path).num_parameters
    rewrite(tmp_path, lambda s: {**s, "lm_head.weight": s["transformer.wte.weight"] * 2})
    other = Generator(tmp_path)
    assert other.num_parameters > tied
    assert results(other) != expected


def test_model_in_memory(tmp_path: Path) -> None:
    model = make_gpt2(tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in ("vocab.json", "merges.txt")}
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    generator = Generator.from_state_dict(model.config.to_dict(), state, files=files)
    assert results(generator) == results(Generator(tmp_path))
    with pytest.raises(TypeError, match="made in memory cannot be pickled"):
        generator.__reduce__()


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_conversion(compute_type: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The native file, and what `info` says of it."""
    path, native = tmp_path / "model", tmp_path / "native"
    make_gpt2(path)
    assert main(["convert", str(path), str(native), "--compute-type", compute_type]) == 0
    expected = Generator(path, compute_type=compute_type)
    assert results(Generator(native)) == results(expected)
    assert Generator(native).generate("The dog") == expected.generate("The dog")
    capsys.readouterr()
    assert main(["info", str(native)]) == 0
    facts = capsys.readouterr().out
    assert "decoder          3 layers, d_model 45, d_ff 180" in facts
    assert "encoder" not in facts
    assert "max_decoding_length 89" in facts
    assert f"compute type     {compute_type}" in facts


@pytest.fixture(scope="module", params=["files", "json", "begins", "ends", "spaced"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    path = tmp_path_factory.mktemp("gpt2")
    model = make_gpt2(path)
    options: dict[str, Any] = {
        "begins": {"add_bos_token": True},
        "ends": {"add_bos_token": False, "add_eos_token": True},
        "spaced": {"add_prefix_space": True},
    }.get(request.param, {})
    settings = {"tokenizer_class": "GPT2Tokenizer", **options}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    if request.param == "json":
        again = tmp_path_factory.mktemp("again")
        AutoTokenizer.from_pretrained(path).save_pretrained(again)
        model.save_pretrained(again)
        path = again
    return Pair(path, model.config.vocab_size)


def test_tokenizer(pair: Pair) -> None:
    generator = random.Random(0)
    for text in [*TEXTS, "a <|endoftext|> dog", "<|endoftext|>", " dog  dog\n\ndog"]:
        ids = pair.theirs(text).input_ids
        assert pair.ours.encode_ids(text) == ids
        pair.assert_decodes_equal(ids)
    for _ in range(100):
        ids = [generator.randrange(len(pair.theirs)) for _ in range(generator.randrange(20))]
        pair.assert_decodes_equal(ids)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "cross": ({"add_cross_attention": True}, "add_cross_attention = true"),
    "classes": ({"architectures": ["GPT2ForSequenceClassification"]}, "classifies texts"),
    "tokens": ({"architectures": ["GPT2ForTokenClassification"]}, "single tokens"),
    "choice": ({"architectures": ["GPT2DoubleHeadsModel"]}, "several texts"),
    "activation": ({"activation_function": "mish"}, "activation_function 'mish'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_settings(case: str, tmp_path: Path) -> None:
    changes, message = REFUSED[case]
    make_gpt2(tmp_path)
    edit_json(tmp_path / "config.json", changes)
    with pytest.raises(UnsupportedModelError, match=message) as error:
        Generator(tmp_path)
    assert str(tmp_path) in str(error.value)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "heads": ({"n_head": 4}, "n_embd 45 is not divisible by 4 heads"),
    "layers": ({"n_layer": 4}, "missing: transformer.h.3.attn.c_attn.bias"),
    "fewer-layers": ({"n_layer": 2}, "left over: transformer.h.2.attn.c_attn.bias"),
    "positions": ({"n_positions": 91}, "wrong shape: transformer.wpe.weight"),
    "no-positions": ({"n_positions": 1}, "n_positions should be"),
    "inner": ({"n_inner": 181}, r"c_fc.weight is \(45, 180\), should be \(45, 181\)"),
    "words": ({"vocab_size": 375}, "wrong shape: transformer.wte.weight"),
    "end": ({"eos_token_id": 9999}, "eos_token_id has '9999'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_settings(case: str, tmp_path: Path) -> None:
    changes, message = BROKEN[case]
    make_gpt2(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    edit_json(tmp_path / "config.json", changes)
    with pytest.raises(CheckpointError, match=message) as error:
        Generator(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    make_gpt2(tmp_path)
    name = "transformer.ln_f.bias"
    rewrite(tmp_path, lambda state: {**state, name: torch.full((45,), torch.inf)})
    with pytest.raises(CheckpointError, match=f"NaN or infinite weights:\n  {name}"):
        Generator(tmp_path)


def test_missing_tokenizer(tmp_path: Path) -> None:
    make_gpt2(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"missing: merges.txt or tokenizer.json"):
        Generator(tmp_path)
