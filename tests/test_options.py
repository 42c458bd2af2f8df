"""Options: rules, defaults, contradictions, and one error for all of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytransformer import OptionError
from pytransformer.compute_types import COMPUTE_TYPE, check_compute_type
from pytransformer.compute_types import resolve as resolve_type
from pytransformer.decoding import DecodingLimits, resolve
from pytransformer.model_spec import GenerationSpec
from pytransformer.options import OPTIONS
from pytransformer.translator import SETTINGS

VOCABULARY = {"</s>": 0, "<unk>": 1, "▁a": 2, ".": 3}
GENERATION = GenerationSpec(
    decoder_start_token_id=999,
    end_token_id=0,
    forced_end_token_id=0,
    suppress_token_ids=(999,),
    max_decoding_length=100,
    beam_size=4,
    length_penalty=0.6,
    early_stopping=True,
)
LIMITS = DecodingLimits(
    generation=GENERATION,
    vocab_size=1000,
    max_source_length=64,
    max_decoding_length=63,
    target_id=VOCABULARY.get,
)

WRONG = [
    ("beam_size", 0),
    ("beam_size", -1),
    ("beam_size", 1_000_000),
    ("beam_size", 1001),  # the vocabulary has 1000 tokens
    ("beam_size", True),
    ("beam_size", 2.0),
    ("beam_size", "4"),
    ("beam_size", 1 << 100),
    ("num_hypotheses", 0),
    ("num_hypotheses", 5),  # more than the checkpoint's 4 beams
    ("length_penalty", math.nan),
    ("length_penalty", math.inf),
    ("length_penalty", 1e9),
    ("length_penalty", True),
    ("length_penalty", "1"),
    ("early_stopping", "sometimes"),
    ("early_stopping", 1),
    ("max_decoding_length", 0),
    ("max_decoding_length", 64),  # the positions reach 63
    ("min_decoding_length", -1),
    ("min_decoding_length", 64),  # more than the maximum
    ("max_input_length", -1),
    ("max_input_length", 3.5),
    ("return_scores", 1),
    ("return_scores", "yes"),
    ("end_token", "▁nowhere"),
    ("end_token", 1000),
    ("end_token", -1),
    ("end_token", []),
    ("end_token", b"</s>"),
    ("end_token", ["</s>", None]),
    ("max_batch_size", -1),
    ("max_batch_size", 2.5),
    ("batch_type", "words"),
]


def test_defaults_are_those_of_the_checkpoint() -> None:
    options = resolve({}, LIMITS).options
    assert dataclasses.asdict(options) == {
        "beam_size": 4,
        "num_hypotheses": 1,
        "length_penalty": 0.6,
        "early_stopping": True,
        "max_decoding_length": 63,  # what the checkpoint says, cut to what the positions reach
        "min_decoding_length": 0,
        "max_input_length": 0,
        "return_scores": False,
        "end_token": (0,),
        "max_batch_size": 0,
        "batch_type": "examples",
    }


def test_none_means_not_given() -> None:
    given_none = dict.fromkeys(OPTIONS)
    assert resolve(given_none, LIMITS).options == resolve({}, LIMITS).options


def test_values_are_taken_and_made_plain() -> None:
    arguments = {
        "beam_size": np.int64(5),
        "num_hypotheses": 5,
        "length_penalty": 1,
        "early_stopping": np.bool_(False),
        "max_decoding_length": np.int32(20),
        "min_decoding_length": 20,
        "end_token": ["</s>", "."],
        "batch_type": "tokens",
    }
    options = resolve(arguments, LIMITS).options
    assert type(options.beam_size) is int
    assert type(options.length_penalty) is float
    assert options.early_stopping is False
    assert options.end_token == ("</s>", ".")
    assert (options.min_decoding_length, options.max_decoding_length) == (20, 20)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_value_is_named_with_what_would_be_right(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=name) as caught:
        resolve({name: value}, LIMITS)
    assert len(str(caught.value)) < 200


def test_one_error_names_every_wrong_option() -> None:
    wrong = {"beam_size": 0, "length_penalty": math.nan, "batch_type": "words", "end_token": "?"}
    with pytest.raises(OptionError) as caught:
        resolve({**wrong, "return_scores": True, "temperature": 2}, LIMITS)
    message = str(caught.value)
    assert all(name in message for name in [*wrong, "temperature"])
    assert "return_scores" not in message.replace("known are", "").split("temperature")[0]


def test_a_broken_option_is_not_blamed_for_contradictions() -> None:
    with pytest.raises(OptionError) as caught:
        resolve({"beam_size": 0, "num_hypotheses": 8}, LIMITS)
    assert "num_hypotheses" not in str(caught.value)


@pytest.mark.parametrize(("name", "hint"), [("beam_sise", "beam_size"), ("num_beams", "known are")])
def test_unknown_option_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(OptionError, match=f"no option {name} .*{hint}"):
        resolve({name: 1}, LIMITS)


def test_positions_without_bound_allow_any_length() -> None:
    endless = dataclasses.replace(LIMITS, max_decoding_length=None)
    assert resolve({}, endless).options.max_decoding_length == 100
    assert resolve({"max_decoding_length": 5000}, endless).options.max_decoding_length == 5000


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=3),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), ANYTHING))
def test_whatever_is_given_is_taken_or_refused_in_one_way(arguments: dict[str, Any]) -> None:
    try:
        options = resolve(arguments, LIMITS).options
    except OptionError as error:
        assert any(name in str(error) for name in arguments)  # noqa: PT017
        return
    assert 1 <= options.num_hypotheses <= options.beam_size <= LIMITS.vocab_size
    assert 0 <= options.min_decoding_length <= options.max_decoding_length <= 63
    assert math.isfinite(options.length_penalty)


def test_every_option_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    missing = [name for name in {**OPTIONS, **SETTINGS} if f"| `{name}` |" not in page]
    missing += [name for name in COMPUTE_TYPES if f'`"{name}"`' not in page]
    assert not missing


COMPUTE_TYPES = {
    **{name: name for name in ("default", "auto", "float32", "bfloat16", "int8", "int4")},
    **dict.fromkeys(("int8_float32", "int8_float16", "int8_bfloat16"), "int8"),
}


def test_names_of_compute_types() -> None:
    assert {name: check_compute_type(name) for name in COMPUTE_TYPES} == COMPUTE_TYPES
    assert COMPUTE_TYPE.metavar == "{default,auto,float32,bfloat16,int8,int4}"


@pytest.mark.parametrize(
    "wrong", ["float16", "int16", "bf16", "INT8", "int8 ", "", "int8_int8", None, 8, True, ["int8"]]
)
def test_other_compute_types_are_refused_with_those_there_are(wrong: Any) -> None:
    with pytest.raises(OptionError) as caught:
        check_compute_type(wrong)
    message = str(caught.value)
    assert message.startswith(f"compute_type is {wrong!r}, expected one of ")
    assert all(repr(name) in message for name in COMPUTE_TYPES)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "int8", "int4"])
def test_what_compute_types_mean(stored: str) -> None:
    assert resolve_type("default", stored) is None
    assert resolve_type("auto", stored) == (None if stored == "int4" else "int8")
    assert resolve_type("int8_float32", stored) == "int8"
    assert resolve_type("int4", stored) == "int4"
