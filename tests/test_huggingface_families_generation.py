"""What checkpoints of BART's relatives say of decoding has the effect that it has in transformers.

The settings are those of well-known models, with lengths that suit small ones.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from checkpoints import edit_json
from decoding_engine import plain, run
from huggingface_families import FAMILIES, MODELS, load, make_model
from huggingface_peer import padded
from pytransformer.model_spec import GenerationSpec
from random_models import make_engine
from reference_rules import ReferenceOptions, Tokens

VOCABULARY = 61
LINES = 40
_USUAL = ("decoder_start_token_id", "forced_eos_token_id")

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bart-large-cnn": (
        "bart",
        {
            "num_beams": 4,
            "length_penalty": 2.0,
            "early_stopping": True,
            "no_repeat_ngram_size": 3,
            "min_length": 9,
            "max_length": 22,
            "forced_bos_token_id": 0,
            "forced_eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
    ),
    "bart-greedy": ("bart", {"max_length": 15, "decoder_start_token_id": 2}),
    "mbart-large-en-ro": (
        "mbart",
        {
            "num_beams": 5,
            "early_stopping": True,
            "max_length": 20,
            "decoder_start_token_id": 57,
            "forced_eos_token_id": 2,
        },
    ),
    "mbart-large-50": (
        "mbart",
        {
            "num_beams": 5,
            "early_stopping": True,
            "max_length": 20,
            "decoder_start_token_id": 2,
            "forced_bos_token_id": 44,
            "forced_eos_token_id": 2,
        },
    ),
    "mbart-large-cc25": ("mbart", {"num_beams": 2, "max_length": 12}),
    "m2m100_418M": (
        "m2m_100",
        {
            "num_beams": 5,
            "early_stopping": True,
            "max_length": 20,
            "decoder_start_token_id": 2,
            "forced_bos_token_id": 33,
        },
    ),
    "nllb-200": ("m2m_100", {"max_length": 20, "decoder_start_token_id": 2}),
    "pegasus-xsum": (
        "pegasus",
        {
            "num_beams": 8,
            "length_penalty": 0.6,
            "max_length": 18,
            "decoder_start_token_id": 0,
            "forced_eos_token_id": 1,
        },
    ),
    "wmt19-en-ru": (
        "fsmt",
        {"num_beams": 15, "max_length": 20, "early_stopping": False, "decoder_start_token_id": 2},
    ),
}


def sources() -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [rng.integers(3, VOCABULARY, int(rng.integers(1, 25))).tolist() for _ in range(LINES)]


def found_by(path: Path, padding: int) -> list[Tokens]:
    """What the engine finds with the checkpoint's settings, and the padding token shut out."""
    checkpoint = load(path)
    options = options_of(checkpoint.generation, padding)
    return [plain(found)[0].ids for found in run(make_engine(checkpoint), sources(), options)]


def options_of(spec: GenerationSpec, padding: int) -> ReferenceOptions:
    return ReferenceOptions(
        spec.decoder_start_token_id,
        end_ids=(spec.end_token_id, *spec.more_end_token_ids),
        forced_end_id=spec.forced_end_token_id,
        forced_bos_id=spec.forced_bos_token_id,
        beam_size=spec.beam_size,
        length_penalty=spec.length_penalty,
        early_stopping=spec.early_stopping,
        repetition_penalty=spec.repetition_penalty,
        no_repeat_ngram_size=spec.no_repeat_ngram_size,
        suppressed_ids=(*spec.suppress_token_ids, padding),
        suppress_sequences=spec.suppress_sequences,
        min_decoding_length=spec.min_decoding_length,
        max_decoding_length=spec.max_decoding_length,
        renormalize_logits=spec.renormalize_logits,
    )


@torch.inference_mode()
def generated_by(model: PreTrainedModel) -> list[Tokens]:
    """What `generate` gives by the model's settings, without start token, end token and padding."""
    padding = model.generation_config.pad_token_id
    left_out = (model.generation_config.eos_token_id, padding)
    rows = model.generate(**padded(model, sources()), bad_words_ids=[[padding]]).tolist()
    return [tuple(token for token in row[1:] if token not in left_out) for row in rows]


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("case", SETTINGS)
def test_same_as_transformers(case: str, file: str, tmp_path: Path) -> None:
    name, settings = SETTINGS[case]
    make_model(tmp_path, name, lively=True, seed=8, d_model=60, vocab_size=VOCABULARY)
    config = {"forced_eos_token_id": None, "decoder_start_token_id": None, "num_beams": None}
    edit_json(tmp_path / "config.json", config)
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    ids = {key: generation[key] for key in ("bos_token_id", "eos_token_id") if key in generation}
    said = {**ids, "pad_token_id": generation["pad_token_id"], **settings}
    if file == "config.json":
        (tmp_path / "generation_config.json").unlink()
        # Where nothing is said, versions below 5 took what was usual.
        usual = {key: FAMILIES[name].defaults.get(key) for key in _USUAL}
        edit_json(tmp_path / file, {**usual, **said})
    else:
        (tmp_path / file).write_text(json.dumps(said))
    model = MODELS[name][1].from_pretrained(tmp_path).eval()
    expected = generated_by(model)
    assert found_by(tmp_path, model.config.pad_token_id) == expected
    assert len(set(expected)) > LINES / 4


@pytest.mark.parametrize("name", ["bart", "m2m_100"])
def test_renormalised(name: str, tmp_path: Path) -> None:
    """Tokens that may not come have a share in the probabilities, or have none."""
    model = make_model(tmp_path, name, lively=True, seed=8, d_model=60, vocab_size=VOCABULARY)
    model.generation_config.max_length = 20
    frequent = Counter(token for row in generated_by(model) for token in row).most_common(8)
    words = [[model.config.pad_token_id], *([token] for token, _ in frequent)]
    settings = {
        "num_beams": 4,
        "max_length": 20,
        "min_length": 9,
        "no_repeat_ngram_size": 3,
        "repetition_penalty": 1.1,
        "bad_words_ids": words,
    }
    found = []
    for renormalised in (False, True):
        change = {**settings, "renormalize_logits": renormalised}
        edit_json(tmp_path / "generation_config.json", change)
        model = MODELS[name][1].from_pretrained(tmp_path).eval()
        with torch.inference_mode():
            output = model.generate(
                **padded(model, sources()), return_dict_in_generate=True, output_scores=True
            )
        checkpoint = load(tmp_path)
        options = options_of(checkpoint.generation, model.config.pad_token_id)
        ours = [mine[0] for mine in run(make_engine(checkpoint), sources(), options)]
        ends = model.generation_config.eos_token_id, model.config.pad_token_id
        rows = output.sequences[:, 1:].tolist()
        assert [mine.ids for mine in ours] == [[i for i in row if i not in ends] for row in rows]
        scores = [mine.score for mine in ours]
        assert scores == pytest.approx(output.sequences_scores.tolist(), abs=1e-4)
        found.append([mine.ids for mine in ours])
    assert sum(a != b for a, b in zip(*found, strict=True)) > LINES / 10


DEFAULTS = {
    "bart": (2, 2, 2, 1),
    "mbart": (0, 2, 2, 1),
    "m2m_100": (2, 2, None, 1),
    "pegasus": (0, 1, 1, 1),
    "fsmt": (2, 2, 2, 5),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_nothing_is_said_of(name: str, tmp_path: Path) -> None:
    """Configurations of old versions left out what was usual."""
    make_model(tmp_path, name)
    (tmp_path / "generation_config.json").unlink()
    keys = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    more = ("forced_eos_token_id", "num_beams", "max_length", "early_stopping", "length_penalty")
    edit_json(tmp_path / "config.json", dict.fromkeys((*keys, *more)))
    spec = load(tmp_path).generation
    found = (spec.decoder_start_token_id, spec.end_token_id, spec.forced_end_token_id)
    assert (*found, spec.beam_size) == DEFAULTS[name]
    assert spec.max_decoding_length == 69  # all positions but the start token's


def test_null_is_said(tmp_path: Path) -> None:
    make_model(tmp_path, "bart")
    (tmp_path / "generation_config.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "forced_eos_token_id": None}))
    assert load(tmp_path).generation.forced_end_token_id is None


def test_flag_of_the_oldest_versions(tmp_path: Path) -> None:
    make_model(tmp_path, "bart", bos_token_id=4)
    (tmp_path / "generation_config.json").unlink()
    for flag, expected in ((True, 4), (False, None)):
        edit_json(tmp_path / "config.json", {"force_bos_token_to_be_generated": flag})
        assert load(tmp_path).generation.forced_bos_token_id == expected


@pytest.mark.parametrize(
    "setting",
    [
        {"guidance_scale": 1.5},
        {"penalty_alpha": 0.6},
        {"force_words_ids": [[5]]},
        {"stop_strings": ["."]},
    ],
    ids=str,
)
def test_unsupported_settings_warn(setting: dict[str, Any], tmp_path: Path) -> None:
    make_model(tmp_path, "mbart")
    edit_json(tmp_path / "generation_config.json", setting)
    with pytest.warns(UserWarning, match=f"not supported and ignored: {next(iter(setting))}"):
        load(tmp_path)
