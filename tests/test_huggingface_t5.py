"""T5 and its relatives against transformers: logits, searches, and what the files may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, T5Tokenizer

from decoding_engine import plain, run
from huggingface_peer import Search, generate
from pytransformer import Translator, _native, loaders, native
from pytransformer.loaders.ctranslate2_file import Ctranslate2File
from random_models import make_engine
from reference_model import ReferenceModel
from reference_rules import ReferenceOptions
from t5_models import (
    END,
    PADDING,
    TOLERANCE,
    expected_logits,
    make_t5,
    some_target,
    sources,
    write_json_tokenizer,
    write_weights,
)
from t5_tokenizers import Pair

LINES = 300  # in greedy search, and as many with beams
LEAST_IDENTICAL = 0.995
FAR = {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128}
VARIANTS: dict[str, dict[str, Any]] = {
    "t5": {"name": "t5", **FAR, "seed": 3},
    "t5-1.1": {
        "name": "t5",
        "output": True,
        "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 16,
        "relative_attention_max_distance": 20,
        "seed": 2,
    },
    "t5-silu-wide-heads": {
        "name": "t5",
        "output": True,
        "feed_forward_proj": "gated-silu",
        "d_model": 20,
        "num_heads": 5,
        "d_kv": 16,
        "relative_attention_max_distance": 40,
        "layer_norm_epsilon": 0.1,
    },
    "mt5": {"name": "mt5", "output": True, "feed_forward_proj": "gated-gelu", "seed": 2},
    "mt5-tied": {"name": "mt5", "feed_forward_proj": "relu", "relative_attention_max_distance": 40},
    "umt5": {
        "name": "umt5",
        "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 40,
        "seed": 3,
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits(variant: str, tmp_path: Path) -> None:
    """Also of sentences so long that distances beyond the furthest bucket occur."""
    model = make_t5(tmp_path, num_decoder_layers=4, **VARIANTS[variant])
    checkpoint = loaders.load(tmp_path)
    assert (checkpoint.model.tied_output, checkpoint.model.shared_embedding) == (
        not VARIANTS[variant].get("output"),
        True,
    )
    engine, reference = make_engine(checkpoint), ReferenceModel(checkpoint)
    for source in (*sources(3, 50), [7] * 200 + [END], [END]):
        target = some_target(170)
        expected = expected_logits(model, source, target)
        for found in (engine.logits(source, target), reference.logits(source, target)):
            assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["t5", "t5-1.1", "mt5", "umt5"])
def test_same_translations_as_generate(variant: str, tmp_path: Path) -> None:
    model = make_t5(tmp_path, **VARIANTS[variant])
    engine = make_engine(loaders.load(tmp_path))
    batches = sources(LINES - 8, 30, seed=1), sources(8, 160, seed=2)
    lines = [line for batch in batches for line in batch]
    for beam_size in (1, 4):
        search = Search(beam_size, max_length=24, forced_end=False, suppressed=(PADDING,))
        options = ReferenceOptions(
            PADDING,
            end_ids=(END,),
            forced_end_id=None,
            beam_size=beam_size,
            suppressed_ids=(PADDING,),
            max_decoding_length=24,
        )
        found = [list(plain(hypotheses)[0].ids) for hypotheses in run(engine, lines, options)]
        expected = [
            hypotheses[0][0] for batch in batches for hypotheses in generate(model, batch, search)
        ]
        same = sum(a == b for a, b in zip(found, expected, strict=True))
        assert same >= LEAST_IDENTICAL * LINES
        # A model that says the same of everything would prove nothing.
        assert len(set(map(tuple, expected))) > 0.25 * LINES
        assert sum(len(ids) < 24 for ids in expected) > 0.02 * LINES


@pytest.mark.parametrize("compute_type", ["bfloat16", "int8"])
@pytest.mark.parametrize("gated", [False, True], ids=["relu", "gated-gelu"])
def test_large_activations(compute_type: str, gated: bool, tmp_path: Path) -> None:
    """Numbers as large as they are in the largest models cost no precision."""
    errors = {}
    for large in ((), ("activations",), ("states",)):
        path = tmp_path / "-".join(("model", *large))
        model = make_t5(
            path,
            output=True,
            large=large,
            feed_forward_proj="gated-gelu" if gated else "relu",
            d_model=64,
            d_kv=16,
            d_ff=128,
        )
        reach = largest_inputs(model)
        image = native.build_image(loaders.load(path), compute_type)
        engine = _native.Engine(_native.Model.from_buffer(image, "test"), 1, 1)
        errors[large] = relative_error(model, engine)
        assert (reach["wo"] > 1e4) == ("activations" in large)
        assert (reach["layer_norm"] > 1e4) == ("states" in large)
    least = min(errors.values())
    assert least < 0.2
    assert max(errors.values()) < 1.2 * least


def largest_inputs(model: PreTrainedModel) -> dict[str, float]:
    """The largest number that enters a module of each name."""
    found: dict[str, float] = {}
    hooks = []
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]

        def look(_: Any, inputs: Any, name: str = name) -> None:
            found[name] = max(found.get(name, 0.0), float(inputs[0].abs().max()))

        if name in ("wo", "layer_norm"):
            hooks.append(module.register_forward_pre_hook(look))
    expected_logits(model, sources(1, 30)[0], some_target(10))
    for hook in hooks:
        hook.remove()
    return found


def relative_error(model: PreTrainedModel, engine: _native.Engine) -> float:
    """The root mean square of the logits' error over that of the logits."""
    pairs = []
    for source in sources(12, 30, seed=1):
        target = some_target(12)
        found = np.asarray(engine.logits(source, target), np.float64)
        assert np.isfinite(found).all()
        pairs.append((expected_logits(model, source, target), found))
    expected, found = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()))


def test_trained_model(shared_data: Path, tmp_path: Path) -> None:
    """What transformers made of real sentences with a model that CTranslate2 has converted."""
    folder = shared_data.parent / "models" / "ctranslate2" / "t5_tied"
    if not folder.is_dir():
        pytest.skip(f"no model at {folder}")
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((folder / "hf_checkpoint" / name).read_bytes())
    write_weights(tmp_path, converted_back(folder / "ct2_none" / "model.bin"))
    tokens = json.loads((folder / "hf_checkpoint" / "tokens.json").read_text())["vocab"]
    write_json_tokenizer(tmp_path, tokens)
    lines = json.loads((folder / "source_tokens.json").read_text())
    expected = json.loads((folder / "hf_greedy.json").read_text())
    translator = Translator(str(tmp_path))
    found = translator.translate_batch(lines, max_decoding_length=80, return_end_token=True)
    assert len(found) == len(expected) > 20
    for result, line in zip(found, expected, strict=True):
        assert result.hypotheses[0] == line["tokens"]


def converted_back(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a T5 model of CTranslate2 under the names that they had."""
    file = Ctranslate2File(path)

    def read(name: str) -> torch.Tensor:
        return torch.from_numpy(file.read(f"{name}").copy())

    state = {"shared.weight": read("decoder/embeddings/weight")}
    for side in ("encoder", "decoder"):
        state[f"{side}.final_layer_norm.weight"] = read(f"{side}/layer_norm/gamma")
        for layer in (0, 1):
            own, block = f"{side}/layer_{layer}", f"{side}.block.{layer}.layer"
            sublayers = ["self_attention", *(["attention"] if side == "decoder" else []), "ffn"]
            for place, name in enumerate(sublayers):
                norm = read(f"{own}/{name}/layer_norm/gamma")
                state[f"{block}.{place}.layer_norm.weight"] = norm
            attention = f"{block}.0.SelfAttention"
            q, k, v = read(f"{own}/self_attention/linear_0/weight").chunk(3)
            o = read(f"{own}/self_attention/linear_1/weight")
            state |= {
                f"{attention}.{n}.weight": t for n, t in zip("qkvo", (q, k, v, o), strict=True)
            }
            if layer == 0:
                bias = read(f"{own}/self_attention/relative_attention_bias")
                state[f"{attention}.relative_attention_bias.weight"] = bias
            if side == "decoder":
                k, v = read(f"{own}/attention/linear_1/weight").chunk(2)
                q, o = (read(f"{own}/attention/linear_{i}/weight") for i in (0, 2))
                name = f"{block}.1.EncDecAttention"
                state |= {
                    f"{name}.{n}.weight": t for n, t in zip("qkvo", (q, k, v, o), strict=True)
                }
            dense = f"{block}.{len(sublayers) - 1}.DenseReluDense"
            for i, name in enumerate(("wi", "wo")):
                state[f"{dense}.{name}.weight"] = read(f"{own}/ffn/linear_{i}/weight")
    return {name: tensor.contiguous() for name, tensor in state.items()}


def test_translator(tmp_path: Path) -> None:
    """Text in, text out, from the directory and from a native file made of it."""
    path = tmp_path / "t5"
    model = make_t5(path, seed=3)
    native.write(loaders.load(path), tmp_path / "t5.native")
    tokenizer = Pair(path, T5Tokenizer.from_pretrained).theirs
    texts = ["ba fo gule", "fi  bugo, <unk>", "lu " * 150, "", "<pad> da"]
    for file in (path, tmp_path / "t5.native"):
        translator = Translator(str(file))
        for text in filter(None, texts):
            inputs = tokenizer(text, return_tensors="pt")
            ids = model.generate(**inputs, max_new_tokens=25, do_sample=False)[0]
            expected = tokenizer.decode(ids, skip_special_tokens=True)
            assert translator.translate(text, max_decoding_length=25) == expected
        # There are more embeddings than tokens, and no limit of a sentence's length.
        results = translator.translate_batch([["▁ba", "▁fo"] * 150], max_decoding_length=200)
        assert len(results[0].hypotheses[0]) > 20
