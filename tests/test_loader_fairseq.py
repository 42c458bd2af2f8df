"""fairseq's checkpoints: its own outputs, its formulas, its versions, and broken files."""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq_models import SIZES, SOURCE, Fairseq, write_dictionaries
from pytransformer import Translator, loaders
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders import fairseq
from pytransformer.tokenizers import create
from random_models import make_engine
from torch_fixtures import (
    assert_same_logits,
    assert_survives_damage,
    classes,
    instance,
    same_lists,
    shared_models,
)


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    return shared_models(shared_data, "fairseq")


def read_beams(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


def test_logits_of_a_trained_model(models: Path) -> None:
    engine = make_engine(loaders.load(models / "base"))
    recorded = np.load(models / "base" / "logits.npz")
    for i in range(5):
        source, target = (recorded[f"{n}_{i}"].tolist() for n in ("source_ids", "target_input_ids"))
        expected = recorded[f"all_logits_{i}"]
        np.testing.assert_allclose(engine.logits(source, target), expected, atol=1e-4)


def test_greedy_search_of_a_trained_model(models: Path) -> None:
    recorded = json.loads((models / "base" / "greedy.json").read_text())
    found = Translator(models / "base").translate_batch(
        [item["source"].split() for item in recorded],
        beam_size=1,
        max_decoding_length=80,
        return_scores=True,
    )
    best = [item["hyps"][0] for item in recorded]
    assert [r.hypotheses[0] for r in found] == [item["tokens"] for item in best]
    scores = [r.scores[0] / math.log(2) for r in found]
    np.testing.assert_allclose(scores, [item["score_base2"] for item in best], atol=1e-4)


@pytest.mark.parametrize(("penalty", "equal_lists"), [(1, 45), (0, 50)])
def test_beam_search_of_a_trained_model(models: Path, penalty: int, equal_lists: int) -> None:
    recorded = read_beams(models / "base" / "beam4.json.gz")[f"lenpen_{penalty}"]
    found = Translator(models / "base").translate_batch(
        [item["source"].split() for item in recorded],
        beam_size=4,
        num_hypotheses=4,
        length_penalty=penalty,
        max_decoding_length=80,
    )
    lists = [[item["tokens"] for item in sentence["hyps"]] for sentence in recorded]
    assert [r.hypotheses[0] for r in found] == [tokens[0] for tokens in lists]
    assert same_lists([r.hypotheses for r in found], lists) >= equal_lists


def test_text_with_bpe_codes(tmp_path: Path, models: Path) -> None:
    for name in ("base/checkpoint_last.pt", "base/dict.de.txt", "base/dict.en.txt", "bpe.codes"):
        shutil.copy(models / name, tmp_path)
    lines = (models / "source.txt").read_text().splitlines()
    pieces = (models / "source.bpe.txt").read_text().splitlines()
    translator = Translator(tmp_path)
    assert [" ".join(translator.tokenizer.encode(line)) for line in lines] == pieces
    recorded = json.loads((models / "base" / "greedy.json").read_text())
    expected = [" ".join(item["hyps"][0]["tokens"]).replace("@@ ", "") for item in recorded]
    assert translator.translate(lines, beam_size=1, max_decoding_length=80) == expected


def test_text_without_codes(tmp_path: Path, models: Path) -> None:
    """Words are what stands between spaces."""
    pieces = (models / "source.bpe.txt").read_text().splitlines()[:5]
    translator = Translator(models / "base" / "checkpoint_last.pt")
    recorded = json.loads((models / "base" / "greedy.json").read_text())
    expected = [" ".join(item["hyps"][0]["tokens"]) for item in recorded[:5]]
    assert translator.translate(pieces, beam_size=1, max_decoding_length=80) == expected


def saved(folder: Path, stored: dict[str, Any], **settings: Any) -> Path:
    write_dictionaries(folder)
    torch.save(stored, folder / "checkpoint_best.pt", **settings)
    return folder / "checkpoint_best.pt"


PRE_NORM = {"encoder_normalize_before": True, "decoder_normalize_before": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm": {**PRE_NORM, "activation_fn": "gelu"},
    "pre-norm encoder": {"encoder_normalize_before": True, "activation_fn": "gelu_accurate"},
    "tied": {"share_decoder_input_output_embed": True, "activation_fn": "swish"},
    "learned": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "learned source": {"encoder_learned_pos": True, "layernorm_embedding": True},
    "no scale": {"no_scale_embedding": True, "activation_fn": "tanh"},
    "no positions": {"no_token_positional_embeddings": True},
    "different widths": {"encoder_embed_dim": 24, "encoder_attention_heads": 3},
    "deep": {**PRE_NORM, "encoder_layers": 4, "layernorm_embedding": True},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_options(tmp_path: Path, options: dict[str, Any]) -> None:
    model = Fairseq(**options)
    checkpoint = loaders.load(saved(tmp_path, model.checkpoint()))
    assert_same_logits(checkpoint, model, SIZES)
    assert checkpoint.model.tied_output == model.options.share_decoder_input_output_embed


def test_one_embedding_for_everything(tmp_path: Path) -> None:
    model = Fairseq((SIZES[0], SIZES[0]), share_all_embeddings=True)
    path = saved(tmp_path, model.checkpoint())
    shutil.copy(tmp_path / "dict.de.txt", tmp_path / "dict.en.txt")
    checkpoint = loaders.load(path)
    assert checkpoint.model.shared_embedding
    assert checkpoint.model.tied_output
    assert_same_logits(checkpoint, model, (SIZES[0], SIZES[0]))


def test_leftovers_of_the_fast_path(tmp_path: Path) -> None:
    """Encoder layers also hold weights under other names, which fairseq does not read."""
    model = Fairseq(encoder_layers=2)
    state = model.state_dict()
    shapes = {"in_proj": (48, 16), "out_proj": (16, 16), "fc1": (20, 16), "fc2": (16, 20)}
    for i in range(2):
        for name, shape in shapes.items():
            state[f"encoder.layers.{i}.{name}_weight"] = torch.full(shape, torch.nan)
            state[f"encoder.layers.{i}.{name}_bias"] = torch.ones(shape[0])
    assert_same_logits(loaders.load(saved(tmp_path, model.checkpoint(state))), model, SIZES)
    state["decoder.layers.0.fc1_weight"] = torch.ones(24, 16)
    with pytest.raises(CheckpointError, match=r"left over: decoder\.layers\.0\.fc1_weight"):
        loaders.load(saved(tmp_path, model.checkpoint(state)))


def as_before_0_9(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Projections in one matrix, norms with numbers, an output without a module."""
    old: dict[str, torch.Tensor] = {}
    norms = {
        "encoder": ["self_attn_layer_norm", "final_layer_norm"],
        "decoder": ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"],
    }
    for name, tensor in state.items():
        changed = name.replace("output_projection.weight", "embed_out")
        for number, norm in enumerate(norms[name.split(".")[0]]):
            changed = changed.replace(f".{norm}.", f".layer_norms.{number}.")
        if "_proj." in changed and "out_proj" not in changed:
            prefix, kind = changed[: changed.rindex("attn.") + 5], changed.rpartition(".")[2]
            parts = [state[f"{prefix}{letter}_proj.{kind}"] for letter in "qkv"]
            changed, tensor = f"{prefix}in_proj_{kind}", torch.cat(parts)
        old[changed] = tensor
    return old


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_versions_before_0_9(tmp_path: Path, legacy: bool) -> None:
    model = Fairseq(**PRE_NORM)
    stored = model.checkpoint(as_before_0_9(model.state_dict()))
    del stored["cfg"]
    stored["args"] = model.options
    names = [f"fairseq.meters.{name}" for name in ("AverageMeter", "StopwatchMeter")]
    with classes(names) as made:
        meters = {name: instance(kind, val=1.0, sum=2) for name, kind in made.items()}
        stored["extra_state"]["train_meters"] = meters
        path = saved(tmp_path, stored, _use_new_zipfile_serialization=not legacy)
    assert_same_logits(loaders.load(path), model, SIZES)


@pytest.mark.parametrize("versions", [(1.0, 2.0), (None, None)])
def test_first_versions_had_no_final_norm(tmp_path: Path, versions: tuple[Any, Any]) -> None:
    model = Fairseq(**PRE_NORM)
    del model.encoder.layer_norm, model.decoder.layer_norm
    state = model.state_dict()
    for side, version in zip(("encoder", "decoder"), versions, strict=True):
        if version is None:
            del state[f"{side}.version"]
        else:
            state[f"{side}.version"] = torch.tensor([version])
    assert_same_logits(loaders.load(saved(tmp_path, model.checkpoint(state))), model, SIZES)


def test_configuration_of_omegaconf(tmp_path: Path) -> None:
    """Its objects, as pickled by version 2.0."""
    model = Fairseq(**PRE_NORM)
    stored = model.checkpoint()
    kinds = {name: f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "nodes.AnyNode")}
    with classes([*kinds.values(), "omegaconf.base.ContainerMetadata"]) as made:

        def configuration(values: dict[str, Any], parent: Any) -> Any:
            config = instance(made[kinds["dictconfig.DictConfig"]], _parent=parent)
            metadata = instance(made["omegaconf.base.ContainerMetadata"], ref_type=dict)
            config._metadata = metadata
            config._content = {
                key: configuration(value, config)
                if isinstance(value, dict)
                else instance(made[kinds["nodes.AnyNode"]], _val=value, _parent=config)
                for key, value in values.items()
            }
            return config

        values = {
            "model": {**vars(model.options), "_name": "transformer_iwslt_de_en"},
            "task": {"_name": "translation", "source_lang": "de", "target_lang": "en"},
            "tokenizer": None,
        }
        stored["cfg"] = configuration(values, None)
        path = saved(tmp_path, stored)
    assert_same_logits(loaders.load(path), model, SIZES)


def test_half_precision(tmp_path: Path) -> None:
    model = Fairseq().half()
    path = saved(tmp_path, model.checkpoint())
    assert_same_logits(loaders.load(path), model.float(), SIZES)


def test_defaults_and_tokens(tmp_path: Path) -> None:
    checkpoint = loaders.load(saved(tmp_path, Fairseq().checkpoint()))
    generation = checkpoint.generation
    assert generation.beam_size == 5
    assert generation.early_stopping is True
    assert generation.suppress_token_ids == (1,)
    assert (generation.decoder_start_token_id, generation.forced_end_token_id) == (2, 2)
    assert (generation.min_decoding_length, generation.max_decoding_length) == (1, 39)
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    assert tokenizer.encode_ids("w0 w10  zzz") == [4, 14, 3, 2]
    assert tokenizer.source_ids(["w0", "</s>"]) == [4, 2]
    assert tokenizer.decode([4, 3, 6, 2]) == "a <unk> c"


def test_names_of_files_in_the_options(tmp_path: Path) -> None:
    stored = Fairseq().checkpoint()
    stored["cfg"]["bpe"] = {"_name": "subword_nmt", "bpe_codes": "/home/me/de-en/my.codes"}
    path = saved(tmp_path, stored)
    (tmp_path / "my.codes").write_text("#version: 0.2\nw 1\nw1 0</w>\n")
    checkpoint = loaders.load(path)
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    assert tokenizer.encode("w10 w12") == ["w10", "w1@@", "2"]


def test_preferred_checkpoint_of_a_directory(tmp_path: Path) -> None:
    saved(tmp_path, Fairseq().checkpoint())
    (tmp_path / "checkpoint_best.pt").rename(tmp_path / "checkpoint7.pt")
    assert loaders.load(tmp_path).family == "fairseq"
    for name, layers in (("checkpoint_last.pt", 3), ("checkpoint_best.pt", 4)):
        torch.save(Fairseq(encoder_layers=layers).checkpoint(), tmp_path / name)
        assert loaders.load(tmp_path).model.encoder.num_layers == layers


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"arch": "transformer_lm"}, "'transformer_lm' is not one of transformer, "),
        ({"arch": "fconv"}, "arch 'fconv' is not one of"),
        ({"activation_fn": "relu_squared"}, "'relu_squared' is not one of gelu, "),
        ({"adaptive_softmax_cutoff": "10000,20000"}, "adaptive_softmax_cutoff = '10000,20000'"),
        ({"adaptive_input": True}, "adaptive_input = True"),
        ({"cross_self_attention": True, "no_cross_attention": True}, "cross_self.*no_cross"),
        ({"encoder_layers_to_keep": "0,2"}, "encoder_layers_to_keep = '0,2'"),
        ({"quant_noise_scalar": 0.5}, "quant_noise_scalar = 0.5"),
        ({"decoder_output_dim": 8}, "decoder_output_dim = 8"),
    ],
    ids=str,
)
def test_unsupported_options(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    stored = Fairseq().checkpoint()
    vars(stored["cfg"]["model"]).update(options)
    with pytest.raises(UnsupportedModelError, match=rf"best\.pt: .*{fault}"):
        loaders.load(saved(tmp_path, stored))


def test_unsupported_task(tmp_path: Path) -> None:
    stored = Fairseq().checkpoint()
    stored["cfg"]["task"]["_name"] = "translation_multi_simple_epoch"
    with pytest.raises(UnsupportedModelError, match="'translation_multi_simple_epoch'"):
        loaders.load(saved(tmp_path, stored))


def option(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda stored: vars(stored["cfg"]["model"]).update({key: value})


def weight(name: str, value: torch.Tensor | None) -> Callable[[dict[str, Any]], None]:
    def change(stored: dict[str, Any]) -> None:
        stored["model"].pop(name, None)
        if value is not None:
            stored["model"][name] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (weight("decoder.layers.1.fc2.bias", None), r"missing: decoder\.layers\.1\.fc2\.bias"),
        (weight("decoder.layers.0.attn_ln.weight", torch.ones(16)), "left over: .*attn_ln"),
        (weight("decoder.output_projection.weight", None), "missing: decoder.output_projection"),
        (weight("encoder.embed_tokens.weight", torch.ones(9, 16)), r"is \(9, 16\), should be"),
        (weight("encoder.layers.0.fc1.bias", torch.full((20,), torch.inf)), "NaN or infinite"),
        (option("encoder_attention_heads", 3), "3 heads cannot share 16 columns"),
        (option("decoder_layers", "2"), "decoder_layers should be an integer"),
        (option("encoder_learned_pos", True), "missing: encoder.embed_positions.weight"),
        (lambda stored: stored.update(model=[]), "model should map names to tensors"),
        (lambda stored: stored.update(cfg=3), "neither args nor cfg says what the model is"),
        (lambda stored: stored["cfg"].update(task=None), "give no source_lang"),
        (lambda stored: stored["cfg"]["task"].update(source_lang="../de"), "give no source_lang"),
        (lambda stored: stored["cfg"]["task"].update(source_lang="fr"), "there is no such file"),
        (lambda stored: stored.update(extra=print), r"builtin.*print"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_checkpoint(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    model = Fairseq()
    del model.options.source_lang, model.options.target_lang
    stored = model.checkpoint()
    change(stored)
    with pytest.raises(CheckpointError, match=rf"(?s)(best\.pt|dict\..*txt): .*({fault})"):
        loaders.load(saved(tmp_path, stored))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a 1\nb\n", "line 2 is not a token and its count"),
        (b"a 1\nb x\n", "line 2 is not a token and its count"),
        (b"a 1\n\nb 2\n", "line 2 is not a token and its count"),
        (b"a 1\nb 2\na 3\n", "line 3: 'a' occurs twice"),
        (b"a 1\n<s> 2\n", "line 2: '<s>' occurs twice"),
        (b"<s> 2 #fairseq:overwrite\n", "line 1: #fairseq:overwrite is not supported"),
        (b"a\xff 1\n", "byte 1 is not UTF-8 text"),
        (b"a 1\n", r"is \(15, 16\), should be \(5, 16\)"),
    ],
)
def test_broken_dictionary(tmp_path: Path, content: bytes, fault: str) -> None:
    path = saved(tmp_path, Fairseq().checkpoint())
    (tmp_path / "dict.de.txt").write_bytes(content)
    with pytest.raises(CheckpointError, match=fault):
        loaders.load(path)


def test_dictionary_with_strange_tokens(tmp_path: Path) -> None:
    path = saved(tmp_path, Fairseq().checkpoint())
    tokens = ["\u2028", "a\u00a0b", "#", "1", "\x85", *SOURCE[5:]]
    lines = "".join(f"{token} 1\n" for token in tokens)
    (tmp_path / "dict.de.txt").write_text(lines, newline="\n")
    checkpoint = loaders.load(path)
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    assert tokenizer.source_ids(tokens) == [*range(4, SIZES[0]), 2]


def test_damage(tmp_path: Path) -> None:
    sizes = {f"{side}_{size}": 2 for side in ("encoder", "decoder") for size in ("embed_dim",)}
    sizes |= {"encoder_ffn_embed_dim": 1, "decoder_ffn_embed_dim": 1, "decoder_layers": 1}
    sizes |= {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    model = Fairseq(no_token_positional_embeddings=True, **sizes)
    stored = {"args": argparse.Namespace(**sizes), "model": model.state_dict()}
    vars(stored["args"]).update(source_lang="de", target_lang="en", encoder_layers=1)
    path = saved(tmp_path, stored)
    assert_survives_damage(path.read_bytes(), path, fairseq.load, 2000)
