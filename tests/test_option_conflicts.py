"""Options that contradict each other or the model: one error, before any work."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from option_limits import LIMITS
from pytransformer import OptionError
from pytransformer.decoding import resolve

Arguments = dict[str, Any]

# What is given, and what the error must hold.
CONFLICTS: list[tuple[Arguments, list[str]]] = [
    ({"max_decoding_length": 64}, ["max_decoding_length is 64", "63"]),
    ({"min_decoding_length": 64}, ["min_decoding_length is 64", "max_decoding_length, 63"]),
    ({"min_decoding_length": 9, "max_decoding_length": 8}, ["min_decoding_length is 9"]),
    ({"beam_size": 1001}, ["beam_size is 1001", "1000 tokens"]),
    ({"num_beam_groups": 3}, ["num_beam_groups is 3", "beam_size, 4"]),
    ({"num_beam_groups": 8}, ["num_beam_groups is 8", "beam_size, 4"]),
    ({"diversity_penalty": 0.5}, ["diversity_penalty", "num_beam_groups"]),
    ({"num_hypotheses": 5}, ["num_hypotheses is 5", "beam_size, 4"]),
    ({"num_hypotheses": 4, "patience": 0.5}, ["num_hypotheses is 4", "patience 0.5", "after 2"]),
    (
        {"num_hypotheses": 3, "patience": 0.1, "num_beam_groups": 2},
        ["num_hypotheses is 3", "patience 0.1", "after 2"],
    ),
    (
        {"num_hypotheses": 7, "patience": 1.5, "beam_rule": "ctranslate2"},
        ["num_hypotheses is 7", "patience 1.5", "after 6"],
    ),
    (
        {"renormalize_logits": True, "num_beam_groups": 2, "diversity_penalty": 1},
        ["renormalize_logits", "diversity_penalty"],
    ),
    ({"beam_rule": "ctranslate2", "num_beam_groups": 2}, ["ctranslate2", "num_beam_groups"]),
    ({"beam_rule": "ctranslate2", "force_phrases": ["b"]}, ["ctranslate2", "force_phrases"]),
    ({"beam_rule": "ctranslate2", "return_alternatives": True}, ["ctranslate2", "return_alt"]),
    ({"sampling_topk": 0, "beam_size": 4}, ["sampling", "beam_size 1, not 4"]),
    ({"sampling_topk": 9, "num_beam_groups": 2}, ["num_beam_groups is 2", "beam_size, 1"]),
    ({"sampling_topk": 9, "force_phrases": ["a"]}, ["force_phrases", "random"]),
    ({"sampling_topp": 0.9}, ["sampling_topp needs sampling_topk"]),
    ({"sampling_temperature": 2}, ["sampling_temperature needs sampling_topk"]),
    ({"min_alternative_expansion_prob": 0.1}, ["min_alternative_expansion_prob needs return_alt"]),
    ({"return_alternatives": True, "sampling_topk": 5}, ["return_alternatives", "sampling_topk"]),
    ({"return_alternatives": True, "num_beam_groups": 2}, ["return_alt", "num_beam_groups"]),
    ({"return_alternatives": True, "prefix_bias_beta": 0.5}, ["return_alt", "prefix_bias_beta"]),
    ({"attention_layer": 2}, ["attention_layer is 2", "2 layers"]),
    ({"attention_layer": -3, "return_attention": True}, ["attention_layer is -3"]),
    ({"attention_heads": [0, 8]}, ["attention_heads has 8", "8 heads"]),
    ({"use_vmap": True}, ["use_vmap", "no shortlist"]),
    ({"end_token": "▁nowhere"}, ["end_token", "no '▁nowhere'"]),
    ({"end_token": 1000}, ["end_token", "no 1000"]),
    ({"end_token": ["</s>", "x", "y"]}, ["end_token", "'x', 'y'"]),
    ({"allowed_tokens": ["▁a", "x"]}, ["allowed_tokens", "no 'x'"]),
    ({"suppress_sequences": [["▁a", "x"]]}, ["suppress_sequences", "no 'x'"]),
    ({"suppress_sequences": ["a x"]}, ["suppress_sequences", "no 'a x'"]),
    ({"bad_words_ids": [[2, 1000]]}, ["bad_words_ids", "no 1000"]),
    ({"force_phrases": ["x"]}, ["force_phrases", "no 'x'"]),
    ({"force_phrases": ["-"]}, ["force_phrases", "no '-'"]),  # nothing is left of it
    ({"forced_bos_token_id": 1000}, ["forced_bos_token_id is 1000", "end with 999"]),
    ({"forced_eos_token_id": 1000}, ["forced_eos_token_id is 1000", "end with 999"]),
    ({"forced_bos_token_id": 5}, ["forced_bos_token_id is 5", "ends"]),
    ({"end_token": 7}, ["forced_bos_token_id is 7", "ends"]),
    ({"forced_eos_token_id": 3}, ["forced_eos_token_id is 3", "[0, 5]"]),
    ({"forced_eos_token_id": 0, "end_token": 5}, ["forced_eos_token_id is 0", "[5]"]),
    ({"allowed_tokens": [0]}, ["min_decoding_length is 2", "allowed_tokens", "only end tokens"]),
    (
        {"allowed_tokens": [2], "suppress_sequences": [["▁a"]]},
        ["min_decoding_length is 2", "only end tokens"],
    ),
    (
        {"allowed_tokens": [2], "suppress_sequences": [[2], [0], [5]], "min_decoding_length": 0},
        ["allowed_tokens", "no token"],
    ),
    ({"suppress_sequences": [[i] for i in range(1000)]}, ["suppress_sequences", "no token"]),
    (
        {"force_phrases": ["a", "b b"], "max_decoding_length": 2},
        ["force_phrases have 3 tokens", "max_decoding_length, 2"],
    ),
    ({"force_phrases": ["b"], "suppress_sequences": ["b"]}, ["'b'", "suppressed"]),
    ({"force_phrases": ["b"], "bad_words_ids": [[4]]}, ["'b'", "suppressed"]),
    ({"force_phrases": ["b a ."]}, ["'b a .'", "suppressed"]),  # the checkpoint suppresses "a ."
    ({"force_phrases": [["<unk>"]], "disable_unk": True}, ["<unk>", "suppressed"]),
    ({"force_phrases": ["b"], "allowed_tokens": [2]}, ["'b'", "allowed_tokens"]),
    ({"force_phrases": [[2, 5, 2]]}, ["(2, 5, 2)", "an end token"]),
]


@pytest.mark.parametrize(("given", "words"), CONFLICTS, ids=str)
def test_contradiction_is_one_clear_error(given: Arguments, words: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        resolve(given, LIMITS)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert ";" not in message.replace("shortlist; open", "").replace("takes the best", "")
    assert len(message) < 200


FINE: list[Arguments] = [
    {"seed": 1},
    {"patience": 3.0, "beam_size": 1},
    {"prefix_bias_beta": 0.5},  # whether a sentence has a prefix is not known yet
    {"num_hypotheses": 4, "num_beam_groups": 2, "diversity_penalty": 0.1},
    {"num_hypotheses": 6, "patience": 1.5, "beam_rule": "ctranslate2"},
    {"num_hypotheses": 4, "patience": 0.5, "beam_rule": "marian"},  # which has no patience
    {"renormalize_logits": True, "num_beam_groups": 2, "force_phrases": ["b"]},
    {"num_hypotheses": 2, "patience": 0.1, "num_beam_groups": 2},  # each group finishes one
    {"num_hypotheses": 9, "sampling_topk": 5},
    {"num_hypotheses": 9, "return_alternatives": True, "min_alternative_expansion_prob": 0.1},
    {"return_alternatives": True, "force_phrases": ["b"]},
    {"num_beam_groups": 2, "force_phrases": ["b"]},
    {"sampling_topk": 1, "sampling_topp": 1, "sampling_temperature": 1},
    {"sampling_topk": 0, "sampling_topp": 0.5, "sampling_temperature": 0.1, "beam_size": 1},
    {"suppress_sequences": [[0], [5]]},  # all translations have the longest length then
    {"allowed_tokens": [0], "min_decoding_length": 0},
    {"force_phrases": ["b b", "b"], "max_decoding_length": 3},
    {"force_phrases": [["b", ".", "b"]], "allowed_tokens": ["b", "."]},
    {"attention_heads": [7], "attention_layer": -2},
    {"end_token": 5},  # the checkpoint's forced end token does not count then
]


@pytest.mark.parametrize("given", FINE, ids=str)
def test_what_only_looks_like_a_contradiction(given: Arguments) -> None:
    resolve(given, LIMITS)


def test_all_contradictions_are_in_one_error() -> None:
    wrong = {
        "max_decoding_length": 99,
        "num_hypotheses": 5,
        "num_beam_groups": 3,
        "sampling_topp": 0.5,
        "attention_layer": 7,
        "use_vmap": True,
        "end_token": "nowhere",
        "seed": -1,
        "colour": "red",
    }
    with pytest.raises(OptionError) as caught:
        resolve(wrong, LIMITS)
    assert all(name in str(caught.value) for name in wrong)


def test_models_without_attention_have_no_layer_to_ask_for() -> None:
    none = dataclasses.replace(LIMITS, num_layers=0)
    resolve({}, none)
    for option in ("return_attention", "replace_unknowns"):
        with pytest.raises(OptionError, match="0 layers"):
            resolve({option: True}, none)
