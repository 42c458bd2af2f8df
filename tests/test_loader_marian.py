"""The loader of Marian's own models: options and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marian_variants
from marian_files import BERGAMOTS, binary_model, floats, integers, text
from marian_variants import (
    SOURCES,
    TARGETS,
    VARIANTS,
    options,
    save,
    tensors,
    write_variant,
    yaml_text,
)
from pytransformer import Translator, native
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders import load
from pytransformer.model_spec import NO_TOKEN
from random_models import make_engine
from reference_model import ReferenceModel

RECORDED = json.loads(marian_variants.SCORES.read_text(encoding="utf-8"))


def scores(path: Path) -> list[list[float]]:
    translator = Translator(path, intra_threads=1)
    tokenizer = translator.tokenizer
    found = translator.score_batch(
        [tokenizer.encode(line) for line in SOURCES],
        [tokenizer.encode_target(line) for line in TARGETS],
    )
    return [result.log_probs for result in found]


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_scores_are_marians(tmp_path: Path, name: str) -> None:
    for found, expected in zip(scores(write_variant(tmp_path, name)), RECORDED[name], strict=True):
        assert found == pytest.approx(expected, abs=2e-5, rel=3e-5)


def test_variants_differ() -> None:
    """So that no option can be overlooked."""
    assert len({json.dumps(found) for found in RECORDED.values()}) == len(VARIANTS)


@pytest.mark.parametrize("name", ["post-norm", "ssru", "average, one width"])
def test_native_file(tmp_path: Path, name: str) -> None:
    path = write_variant(tmp_path, name)
    native.write(load(path), tmp_path / "native")
    assert scores(tmp_path / "native") == scores(path)
    for line in SOURCES:
        assert Translator(tmp_path / "native").translate(line) == Translator(path).translate(line)


def test_learned_positions(tmp_path: Path) -> None:
    """They are added to embeddings that are not scaled."""
    path = write_variant(tmp_path, "post-norm")
    table = np.random.RandomState(1).normal(size=(9, 16)).astype(np.float32)
    save(path, {**tensors("post-norm"), "Wpos": table}, options("post-norm"))
    checkpoint = load(path)
    for side, stack in (
        ("encoder", checkpoint.model.encoder),
        ("decoder", checkpoint.model.decoder),
    ):
        assert (stack.positions.kind, stack.positions.max_length) == ("learned", 9)
        assert stack.embedding_scale == 1.0
        np.testing.assert_array_equal(checkpoint.tensors[f"{side}.positions.weight"], table)
    assert checkpoint.generation.max_decoding_length == 8
    source, target = [2, 3, 4, 0], [NO_TOKEN, 5, 6]
    found = make_engine(checkpoint).logits(source, target)
    np.testing.assert_allclose(found, ReferenceModel(checkpoint).logits(source, target), atol=1e-4)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v1.12.42 b7be0e964 2025-05-24", "gelu"),
        ("v1.12.3", "gelu"),
        ("v1.12.2", "gelu_sigmoid"),
        ("v1.9.0 ba94c5b9 2020-05-17 10:42:17 +0100", "gelu_sigmoid"),
        ("unknown", "gelu_sigmoid"),
        (None, "gelu_sigmoid"),
    ],
)
def test_gelu_of_each_time(tmp_path: Path, version: str | None, expected: str) -> None:
    change = {"version": version, "transformer-ffn-activation": "gelu"}
    spec = load(write_variant(tmp_path, "post-norm", change)).model
    assert spec.encoder.activation == spec.decoder.activation == expected


@pytest.mark.parametrize("version", ["v1.10.28", "v1.9.56 1234", None])
def test_pre_norm_of_old_versions(tmp_path: Path, version: str | None) -> None:
    path = write_variant(tmp_path, "pre-norm", {"version": version})
    with pytest.raises(UnsupportedModelError, match=r"model\.npz.*before 1\.11"):
        load(path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"type": "s2s"}, "type 's2s'"),
        ({"type": None}, "type 'amun'"),
        ({"type": "multi-transformer"}, "type 'multi-transformer'"),
        ({"type": "lm-transformer"}, "type 'lm-transformer'"),
        ({"type": "transformer-new"}, "type 'transformer-new'"),
        ({"dim-vocabs": [20, 20, 20]}, "3 vocabularies"),
        ({"transformer-ffn-activation": "sigmoid"}, "transformer-ffn-activation = 'sigmoid'"),
        ({"transformer-ffn-depth": 1}, "transformer-ffn-depth: a depth of 1"),
        ({"transformer-decoder-ffn-depth": 1}, "transformer-ffn-depth: a depth of 1"),
        ({"transformer-postprocess": "dhn"}, "operations .*'hn'"),
        ({"transformer-postprocess": "dnan"}, "operations .*'nan'"),
        ({"transformer-postprocess": "n"}, "operations"),
        ({"transformer-preprocess": "n"}, "operations"),
        ({"transformer-postprocess-emb": "r"}, "of one kind"),
        ({"transformer-postprocess-top": "an"}, "transformer-postprocess-top = 'an'"),
        ({"transformer-postprocess-emb": "a"}, "transformer-postprocess-emb = 'a'"),
        ({"transformer-decoder-autoreg": "x"}, "transformer-decoder-autoreg = 'x'"),
        ({"transformer-decoder-autoreg": "rnn", "dec-cell": "gru"}, "dec-cell = 'gru'"),
        ({**marian_variants.SSRU, "layer-normalization": True}, "layer-normalization = True"),
        ({**marian_variants.AVERAGE, **marian_variants.PRE_NORM}, "average-attention with a norm"),
        ({**marian_variants.AVERAGE, "transformer-aan-depth": 1}, "aan-depth: a depth of 1"),
        ({**marian_variants.AVERAGE, "transformer-aan-depth": 10**9}, "aan-depth: a depth of"),
        ({"transformer-attention-mask": "alibi"}, "transformer-attention-mask = 'alibi'"),
        ({"transformer-no-bias": True}, "transformer-no-bias = True"),
        ({"transformer-pool": True}, "transformer-pool = True"),
        ({"right-left": True}, "right-left = True"),
        ({"ulr": True}, "ulr = True"),
        ({"lemma-dim-emb": 8}, "lemma-dim-emb = 8"),
        ({"lemma-dependency": "re-embedding"}, "lemma-dependency = 're-embedding'"),
        ({"input-types": ["sequence", "class"]}, "input-types = "),
        ({"transformer-moe-experts": 4}, "transformer-moe-experts = 4"),
        ({"a-new-option": "on"}, "a-new-option = 'on'"),
    ],
)
def test_unsupported_option(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"model\.npz.*{fault}"):
        load(write_variant(tmp_path, "post-norm", change))


def test_new_option_that_is_off(tmp_path: Path) -> None:
    change = {"a-new-option": False, "another": 0, "a-third": "", "a-fourth": []}
    assert (
        load(write_variant(tmp_path, "post-norm", change)).model
        == load(write_variant(tmp_path, "post-norm")).model
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"dim-emb": 0}, "dim-emb should be an integer"),
        ({"dim-emb": "x"}, "dim-emb should be an integer"),
        ({"dim-emb": 17}, "17 is not divisible by 2 heads"),
        ({"transformer-heads": 3}, "not divisible by 3 heads"),
        ({"enc-depth": 10**6}, "enc-depth should be"),
        ({"dim-vocabs": None}, "dim-vocabs should be"),
        ({"dim-vocabs": [20, -1]}, "dim-vocabs should be"),
        ({"dim-vocabs": [20, 21]}, "two equal numbers"),
        ({"tied-embeddings-all": "x"}, "should be true or false"),
        ({"transformer-tied-layers": [1]}, "transformer-tied-layers should be 2 numbers"),
        ({"transformer-tied-layers": [1, 3]}, "transformer-tied-layers should be"),
        ({"transformer-tied-layers": [1, "x"]}, "transformer-tied-layers should be"),
        ({"transformer-decoder-autoreg": 1}, "should be text"),
    ],
)
def test_wrong_option(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"model\.npz.*{fault}"):
        load(write_variant(tmp_path, "post-norm", change))


def test_options_beside_the_model(tmp_path: Path) -> None:
    """Those of a training, among which are many that have nothing to do with the model."""
    path = write_variant(tmp_path, "ssru")
    expected = load(path)
    save(path, tensors("ssru"), None)
    with pytest.raises(CheckpointError, match=r"does not say what model it is.*model\.npz\.yml"):
        load(path)
    training = {**options("ssru"), "train-sets": ["a", "b"], "cost-type": "ce-mean", "quiet": True}
    training.update({"transformer-dropout": 0.1, "vocabs": ["/x/vocab.yml", "/x/vocab.yml"]})
    beside = tmp_path / "model.npz.yml"
    beside.write_text(yaml_text(training), encoding="utf-8")
    assert load(path).model == expected.model
    beside.write_text(yaml_text({**training, "transformer-new": 1}), encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match=r"model\.npz\.yml.*transformer-new = 1"):
        load(path)


# --- weights -----------------------------------------------------------------------------------


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = write_variant(tmp_path, "post-norm")
    weights = tensors("post-norm")
    weights["more"] = np.zeros((2, 2), np.float32)
    weights["Wemb"] = weights["Wemb"][:, 1:]
    del weights["encoder_l2_ffn_W1"]
    save(path, weights, options("post-norm"))
    with pytest.raises(CheckpointError) as error:
        load(path)
    message = str(error.value)
    assert f"{path}: the weights do not fit special:model.yml" in message
    for fault in (
        "missing: encoder_l2_ffn_W1 (16, 24)",
        "left over: more (2, 2)",
        "wrong shape: Wemb is (20, 15), should be (20, 16)",
    ):
        assert fault in message


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    path = write_variant(tmp_path, "post-norm")
    weights = tensors("post-norm")
    weights["decoder_l1_context_Wo"][3, 3] = np.nan
    with pytest.raises(CheckpointError, match=r"NaN or infinite weights:\s+decoder_l1_context_Wo"):
        load(save(path, weights, options("post-norm")))


def test_bergamots_int8(tmp_path: Path) -> None:
    """Matrices transposed, embeddings not; scales of activations are of no use."""
    write_variant(tmp_path, "ssru")
    items = {"special:model.yml": text(yaml_text(options("ssru")))}
    rounded = {}
    for name, values in tensors("ssru").items():
        is_matrix = name == "Wemb" or "_W" in name[-3:]
        items[name] = (
            integers(values, BERGAMOTS, transposed=name != "Wemb") if is_matrix else floats(values)
        )
        if is_matrix:
            factor = np.float32(127 / np.abs(values).max())
            rounded[name] = np.rint(values * factor) / factor
            items[f"{name}_QuantMultA"] = floats(np.ones(1, np.float32))
    items["none_QuantMultA"] = floats(np.ones((1, 1), np.float32))
    path = tmp_path / "model.bin"
    path.write_bytes(binary_model(items))
    checkpoint = load(path)
    assert checkpoint.compute_type == "int8"
    plan = {
        "shared.embedding.weight": rounded["Wemb"],
        "encoder.layers.1.feed_forward.up.weight": rounded["encoder_l2_ffn_W1"].T,
        "decoder.layers.0.ssru.input.weight": rounded["decoder_l1_rnn_W"].T,
        "decoder.layers.0.ssru.forget.weight": rounded["decoder_l1_rnn_Wf"].T,
    }
    for name, values in plan.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], values)
    assert Translator(path).compute_type == "int8"
