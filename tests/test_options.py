"""Options: rules, defaults, and one error for all that is wrong."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from option_limits import GENERATION, LIMITS
from pytransformer import OptionError, Translator, files
from pytransformer.compute_types import COMPUTE_TYPE, check_compute_type
from pytransformer.compute_types import resolve as resolve_type
from pytransformer.decoding import resolve
from pytransformer.option_rules import Choice, Integer, Number, OptionInfo
from pytransformer.options import OPTIONS, OTHER_NAMES
from pytransformer.translator import SETTINGS

# Every option with a value of a wrong type, besides those that its rule implies.
WRONG_TYPES = [
    *[(name, value) for name in OPTIONS for value in (object(), 1 + 2j, {"a": 1})],
    ("beam_size", 2.0),
    ("beam_size", "4"),
    ("length_penalty", "1"),
    ("early_stopping", "sometimes"),
    ("early_stopping", 1),
    ("return_scores", 1),
    ("return_scores", "yes"),
    ("end_token", []),
    ("end_token", b"</s>"),
    ("end_token", ["</s>", None]),
    ("end_token", -1),
    ("end_token", True),
    ("allowed_tokens", []),
    ("allowed_tokens", [["▁a"]]),
    ("suppress_sequences", "▁a"),
    ("suppress_sequences", [[]]),
    ("suppress_sequences", [" "]),
    ("bad_words_ids", [[1.5]]),
    ("bad_words_ids", [[-1]]),
    ("bad_words_ids", [[True]]),
    ("force_phrases", "a ."),
    ("force_phrases", [""]),
    ("force_phrases", [None]),
    ("attention_heads", [0, 1.5]),
    ("attention_heads", "0"),
    ("max_batch_size", 2.5),
    ("batch_type", "words"),
    ("batch_type", b"tokens"),
]


def out_of_bounds(info: OptionInfo) -> list[object]:
    """Values that no option takes that keeps such a rule."""
    rule = info.rule
    if isinstance(rule, Integer):
        return [rule.minimum - 1, rule.maximum + 1, 1 << 100, True, np.bool_(False), 1.0, math.nan]
    if isinstance(rule, Number):
        values: list[object] = [math.nan, math.inf, -math.inf, True, 1e300, "1", 10**400]
        return [*values, rule.minimum if rule.above else rule.minimum - 1e-9]
    if isinstance(rule, Choice):
        return [0, 1, "", math.nan, -1, 1 << 100]
    return [-1, 1 << 100, math.nan, math.inf, True, [True], [math.inf]]


WRONG = [
    *[(name, value) for name, info in OPTIONS.items() for value in out_of_bounds(info)],
    *WRONG_TYPES,
]


def test_defaults_are_those_of_the_checkpoint() -> None:
    options = resolve({}, LIMITS).options
    assert dataclasses.asdict(options) == {
        "beam_size": 4,
        "patience": 1.0,
        "num_hypotheses": 1,
        "length_penalty": 0.6,
        "coverage_penalty": 0.0,
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "renormalize_logits": False,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "early_stopping": True,
        "beam_rule": "generate",
        "max_decoding_length": 63,  # what the checkpoint says, cut to what the positions reach
        "min_decoding_length": 2,
        "max_length_factor": 0.0,
        "max_input_length": 0,
        "stop_loops": False,
        "disable_unk": False,
        "suppress_sequences": ((2, 3),),
        "bad_words_ids": (),
        "force_phrases": (),
        "allowed_tokens": (),
        "use_vmap": False,
        "end_token": (0, 5),
        "return_end_token": False,
        "decoder_start_token_id": 999,
        "forced_bos_token_id": 7,
        "forced_eos_token_id": 0,
        "prefix_bias_beta": 0.0,
        "return_scores": False,
        "return_attention": False,
        "attention_layer": -1,
        "attention_heads": (),
        "return_logits_vocab": False,
        "return_alternatives": False,
        "min_alternative_expansion_prob": 0.0,
        "sampling_topk": 1,
        "sampling_topp": 1.0,
        "sampling_temperature": 1.0,
        "seed": -1,
        "replace_unknowns": False,
        "max_batch_size": 0,
        "batch_type": "examples",
    }


def test_a_checkpoint_that_says_little_changes_nothing() -> None:
    plain = dataclasses.replace(
        GENERATION,
        forced_end_token_id=None,
        more_end_token_ids=(),
        forced_bos_token_id=None,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        suppress_sequences=(),
    )
    options = resolve({}, dataclasses.replace(LIMITS, generation=plain)).options
    assert (options.forced_bos_token_id, options.forced_eos_token_id) == (-1, -1)
    assert options.end_token == (0,)
    assert options.suppress_sequences == ()


def test_a_shortlist_is_used_where_there_is_one() -> None:
    with_one = dataclasses.replace(LIMITS, has_shortlist=True)
    assert resolve({}, with_one).options.use_vmap
    assert not resolve({"use_vmap": False}, with_one).options.use_vmap


def test_none_means_not_given() -> None:
    given_none = dict.fromkeys(OPTIONS)
    assert resolve(given_none, LIMITS).options == resolve({}, LIMITS).options


def test_values_are_taken_and_made_plain() -> None:
    arguments = {
        "beam_size": np.int64(5),
        "num_hypotheses": 5,
        "length_penalty": 1,
        "patience": np.float32(2),
        "early_stopping": np.bool_(False),
        "max_decoding_length": np.int32(20),
        "min_decoding_length": 20,
        "end_token": ["</s>", "."],
        "allowed_tokens": np.array([2, 3, 4]),
        "suppress_sequences": ["b", ["b", "▁a"], np.array([6, 7])],
        "bad_words_ids": [[6, 8]],
        "force_phrases": [("▁a", "▁a")],
        "attention_heads": 1,
        "batch_type": "tokens",
    }
    options = resolve(arguments, LIMITS).options
    assert type(options.beam_size) is int
    assert type(options.length_penalty) is type(options.patience) is float
    assert options.early_stopping is False
    assert options.end_token == ("</s>", ".")
    assert (options.min_decoding_length, options.max_decoding_length) == (20, 20)
    assert options.allowed_tokens == (2, 3, 4)
    assert options.suppress_sequences == ("b", ("b", "▁a"), (6, 7))
    assert options.bad_words_ids == ((6, 8),)
    assert options.force_phrases == (("▁a", "▁a"),)
    assert options.attention_heads == (1,)
    assert all(type(token) is int for token in options.allowed_tokens)


def test_tokens_reach_the_engine_as_ids() -> None:
    arguments = {
        "end_token": ["</s>", "."],
        "allowed_tokens": ["▁a", "b", 7],
        "suppress_sequences": ["b", ["b", "▁a"], [0]],
        "bad_words_ids": [[9], [9, 8], [0], [3]],
        "force_phrases": ["a a", ["▁a", 7]],
        "disable_unk": True,
    }
    decoding = resolve(arguments, LIMITS)
    assert decoding.search.end_token_ids == [0, 3]
    assert decoding.allowed == [0, 2, 3, 4, 7]  # end tokens may always come
    # An end token among bad_words_ids has no effect, as in transformers; 999 is the checkpoint's.
    assert decoding.search.suppress_token_ids == [0, 1, 4, 9, 999]
    assert decoding.search.suppress_sequences == [[4, 2], [9, 8]]
    # Text is whole words, tokens are taken as they are.
    assert decoding.force_words == [[2, 2]]
    assert decoding.force_phrases == [[2, 7]]


def test_sampling_takes_one_beam_whatever_the_checkpoint_says() -> None:
    drawn = resolve({"sampling_topk": 10, "num_hypotheses": 7}, LIMITS)
    assert drawn.options.beam_size == 1
    assert drawn.draws
    assert not resolve({"seed": 3}, LIMITS).draws  # a seed alone draws nothing


def test_forced_end_token_of_the_checkpoint_must_be_one_of_the_end_tokens() -> None:
    assert resolve({}, LIMITS).search.forced_end_token_id == 0
    assert resolve({"end_token": "."}, LIMITS).search.forced_end_token_id == -1
    both = {"end_token": ".", "forced_eos_token_id": 3}
    assert resolve(both, LIMITS).search.forced_end_token_id == 3


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_value_is_named_with_what_would_be_right(name: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        resolve({name: value}, LIMITS)
    message = str(caught.value)
    assert message.startswith(f"{name} is ")
    assert message.endswith(f", expected {OPTIONS[name].rule.expected}")
    assert len(message) < 300


def test_one_error_names_every_wrong_option_there_is() -> None:
    wrong = {name: object() for name in OPTIONS}
    with pytest.raises(OptionError) as caught:
        resolve(wrong, LIMITS)
    faults = str(caught.value).split("; ")
    assert [fault.split(" is ")[0] for fault in faults] == list(OPTIONS)


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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("beam_sise", "mean beam_size"),
        ("num_beams", "mean beam_size"),
        ("max_length", "mean max_decoding_length"),
        ("flavour", "known are"),
    ],
)
def test_unknown_option_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(OptionError, match=f"no option {name} .*{hint}"):
        resolve({name: 1}, LIMITS)


def test_other_names_lead_to_options() -> None:
    assert set(OTHER_NAMES.values()) <= set(OPTIONS)
    assert not set(OTHER_NAMES) & set(OPTIONS)


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
    assert 1 <= options.beam_size <= LIMITS.vocab_size
    assert options.beam_size % options.num_beam_groups == 0
    if options.sampling_topk == 1 and not options.return_alternatives:
        assert 1 <= options.num_hypotheses <= options.beam_size
    assert 0 <= options.min_decoding_length <= options.max_decoding_length <= 63
    assert math.isfinite(options.length_penalty)


def test_every_option_stands_in_the_documentation() -> None:
    docs = Path(__file__).parents[1] / "docs"
    api, decoding = (docs / name for name in ("api.md", "decoding.md"))
    missing = [name for name in OPTIONS if f"`{name}`" not in decoding.read_text(encoding="utf-8")]
    page = api.read_text(encoding="utf-8")
    missing += [name for name in SETTINGS if f"| `{name}` |" not in page]
    missing += [name for name in COMPUTE_TYPES if f'`"{name}"`' not in page]
    assert not missing


# The parameters of its Translator's methods, in version 4.8.5.
CTRANSLATE2 = {
    "translate_batch": """
        source target_prefix max_batch_size batch_type asynchronous beam_size patience
        num_hypotheses length_penalty coverage_penalty repetition_penalty no_repeat_ngram_size
        disable_unk suppress_sequences end_token return_end_token prefix_bias_beta
        max_input_length max_decoding_length min_decoding_length use_vmap return_scores
        return_logits_vocab return_attention return_alternatives min_alternative_expansion_prob
        sampling_topk sampling_topp sampling_temperature replace_unknowns callback
    """,
    "translate_iterable": """
        source target_prefix max_batch_size batch_type
    """,
    "translate_file": """
        source_path output_path target_path max_batch_size read_batch_size batch_type beam_size
        patience num_hypotheses length_penalty coverage_penalty repetition_penalty
        no_repeat_ngram_size disable_unk suppress_sequences end_token prefix_bias_beta
        max_input_length max_decoding_length min_decoding_length use_vmap with_scores
        sampling_topk sampling_topp sampling_temperature replace_unknowns source_tokenize_fn
        target_tokenize_fn target_detokenize_fn
    """,
    "generate_tokens": """
        source target_prefix max_decoding_length min_decoding_length sampling_topk sampling_topp
        sampling_temperature return_log_prob repetition_penalty no_repeat_ngram_size disable_unk
        suppress_sequences end_token max_input_length use_vmap
    """,
    "score_batch": """
        source target max_batch_size batch_type max_input_length offset asynchronous
    """,
    "score_iterable": """
        source target max_batch_size batch_type
    """,
    "score_file": """
        source_path target_path output_path max_batch_size read_batch_size batch_type
        max_input_length offset with_tokens_score source_tokenize_fn target_tokenize_fn
        target_detokenize_fn
    """,
}


@pytest.mark.parametrize("name", CTRANSLATE2)
def test_keywords_of_ctranslate2_are_known_here(name: str) -> None:
    known = set(inspect.signature(getattr(Translator, name)).parameters)
    if name.endswith("_file"):
        known |= set(inspect.signature(getattr(files, name)).parameters)
    if "options" in known:
        known |= set(OPTIONS)
    if name == "score_iterable":  # it hands the others on
        known |= set(inspect.signature(Translator.score_batch).parameters)
    assert set(CTRANSLATE2[name].split()) <= known


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
