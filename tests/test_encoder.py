"""BERT through `Encoder`: states, pooler and classes as transformers gives them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, PreTrainedModel

from bundled import GERMAN, bundled_model
from huggingface_alone import close, corpus, make_bert
from pytransformer import Encoder, EncoderOutput, InputLengthError, OptionError, Translator

SHAPES: dict[str, dict[str, Any]] = {
    "widths-45-61": {},
    "one-wide-head": {"hidden_size": 20, "num_attention_heads": 1, "intermediate_size": 300},
    "no-layers": {"num_hidden_layers": 0},
    "one-type": {"type_vocab_size": 1},
    "five-types": {"type_vocab_size": 5},
    "one-label": {"num_labels": 1},
    "more-labels-than-width": {"num_labels": 131},
    "epsilon": {"layer_norm_eps": 0.1},
}
TEXTS = [*list(corpus())[:20], "x", "", "The dog, ran (slowly) — 犬 [MASK] naïve."]


class Pair:
    """One model and its tokenizer in both."""

    def __init__(self, path: Path, kind: str = "classifier", **config: Any) -> None:
        self.path = path
        self.model: PreTrainedModel = make_bert(path, kind, **config)
        self.tokenizer = BertTokenizer.from_pretrained(path)
        self.encoder = Encoder(path)

    @torch.inference_mode()
    def expected(self, ids: list[int], types: list[int] | None = None) -> tuple[Any, Any, Any]:
        """States, what the pooler gives, and logits of the classes."""
        inputs = {"input_ids": torch.tensor([ids])}
        if types is not None:
            inputs["token_type_ids"] = torch.tensor([types])
        base = getattr(self.model, "bert", self.model)(**inputs)
        logits = None if base is None else getattr(self.model(**inputs), "logits", None)
        pooled = None if base.pooler_output is None else base.pooler_output[0]
        return base.last_hidden_state[0], pooled, None if logits is None else logits[0]

    def assert_close(
        self, output: EncoderOutput, ids: list[list[int]], types: list[Any] | None = None
    ) -> None:
        assert len(output.last_hidden_state) == len(ids)
        for i, one in enumerate(ids):
            states, pooled, logits = self.expected(one, None if types is None else types[i])
            assert close(output.last_hidden_state[i], states)
            for ours, theirs in ((output.pooler_output, pooled), (output.logits, logits)):
                assert (ours is None) == (theirs is None)
                assert ours is None or close(ours[i], theirs)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("bert"))


def random_ids(pair: Pair, count: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    size = pair.model.config.vocab_size
    return [rng.integers(0, size, rng.integers(1, 71)).tolist() for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes(shape: str, tmp_path: Path) -> None:
    pair = Pair(tmp_path, **SHAPES[shape])
    ids = random_ids(pair, 8)
    pair.assert_close(pair.encoder.forward_batch(ids), ids)
    rng = np.random.default_rng(1)
    kinds = pair.model.config.type_vocab_size
    types = [rng.integers(0, kinds, len(one)).tolist() for one in ids]
    pair.assert_close(pair.encoder.forward_batch(ids, types), ids, types)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu", "quick_gelu", "tanh"])
def test_activations(activation: str, tmp_path: Path) -> None:
    pair = Pair(tmp_path, hidden_act=activation)
    ids = random_ids(pair, 3)
    pair.assert_close(pair.encoder.forward_batch(ids), ids)


def test_encoder_without_a_head(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "model")
    ids = random_ids(pair, 4)
    output = pair.encoder.forward_batch(ids)
    pair.assert_close(output, ids)
    assert output.logits is None
    assert pair.encoder.labels == ()
    with pytest.raises(OptionError, match="no classes"):
        pair.encoder.classify("a dog")


def test_texts(pair: Pair) -> None:
    pair.assert_close(pair.encoder.encode(TEXTS), pair.tokenizer(TEXTS).input_ids)
    single = pair.encoder.encode(TEXTS[0])
    assert np.array_equal(
        single.last_hidden_state[0], pair.encoder.encode(TEXTS[:1]).last_hidden_state[0]
    )


def test_pairs_of_texts(pair: Pair) -> None:
    seconds = TEXTS[::-1]
    expected = pair.tokenizer(TEXTS, seconds)
    output = pair.encoder.encode(TEXTS, seconds)
    pair.assert_close(output, expected.input_ids, expected.token_type_ids)
    assert pair.encoder.encode("a dog", "a cat").pooler_output is not None


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 13, 40])
def test_long_texts_are_cut(pair: Pair, length: int) -> None:
    expected = pair.tokenizer(TEXTS, truncation=True, max_length=length).input_ids
    pair.assert_close(pair.encoder.encode(TEXTS, max_input_length=length), expected)
    if length < 3:
        return
    seconds = TEXTS[5:] + TEXTS[:5]
    cut = pair.tokenizer(TEXTS, seconds, truncation="longest_first", max_length=length)
    output = pair.encoder.encode(TEXTS, seconds, max_input_length=length)
    assert [len(states) for states in output.last_hidden_state] == list(map(len, cut.input_ids))
    pair.assert_close(output, cut.input_ids, cut.token_type_ids)


def test_too_long_texts_are_errors(pair: Pair) -> None:
    with pytest.raises(InputLengthError, match="input 1 has 72 tokens") as error:
        pair.encoder.encode(["dog", "dog " * 70])
    assert error.value.index == 1
    with pytest.raises(InputLengthError, match="input 0 has 71 tokens"):
        pair.encoder.forward_batch([[5] * 71])
    assert len(pair.encoder.encode("dog " * 68).last_hidden_state[0]) == pair.encoder.max_length


def test_tokens_stand_as_they_are(pair: Pair) -> None:
    tokens = ["dog", "[SEP]", "nothing-like-it", "a"]
    ids = pair.tokenizer.convert_tokens_to_ids(tokens)
    pair.assert_close(pair.encoder.forward_batch([tokens, np.array(ids)]), [ids, ids])


def test_results_depend_on_nothing_else(pair: Pair) -> None:
    """The same bits alone and in batches of any size, on any number of threads."""
    ids = random_ids(pair, 40)
    alone = [pair.encoder.forward_batch([one]) for one in ids]
    engines = [Encoder(pair.path, intra_threads=2), Encoder(pair.path, inter_threads=2)]
    for encoder in (pair.encoder, *engines):
        for size in (0, 1, 7):
            output = encoder.forward_batch(ids, max_batch_size=size)
            assert output.pooler_output is not None
            assert output.logits is not None
            for i, one in enumerate(alone):
                assert np.array_equal(output.last_hidden_state[i], one.last_hidden_state[0])
                assert np.array_equal(output.pooler_output[i : i + 1], one.pooler_output)
                assert np.array_equal(output.logits[i : i + 1], one.logits)


@pytest.mark.parametrize(("compute_type", "tolerance"), [("bfloat16", 0.05), ("int8", 0.25)])
def test_smaller_formats_are_close(pair: Pair, compute_type: str, tolerance: float) -> None:
    encoder = Encoder(pair.path, compute_type=compute_type)
    assert encoder.compute_type == compute_type
    ids = random_ids(pair, 5)
    output = encoder.forward_batch(ids)
    exact = pair.encoder.forward_batch(ids)
    for ours, theirs in zip(output.last_hidden_state, exact.last_hidden_state, strict=True):
        assert close(ours, torch.tensor(theirs), tolerance)
    assert close(output.pooler_output, torch.tensor(exact.pooler_output), tolerance)
    assert close(output.logits, torch.tensor(exact.logits), tolerance)
    assert not np.array_equal(output.logits, exact.logits)


PROBLEMS: dict[str, tuple[dict[str, Any], Any]] = {
    "one-of-three": ({}, lambda x: x.softmax(-1)),
    "several": ({"problem_type": "multi_label_classification"}, torch.sigmoid),
    "one-label": ({"num_labels": 1}, torch.sigmoid),
    "regression": ({"problem_type": "regression", "num_labels": 1}, lambda x: x),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_classes(problem: str, tmp_path: Path) -> None:
    config, probabilities = PROBLEMS[problem]
    pair = Pair(tmp_path, **config)
    names = [f"class {i}" for i in range(config.get("num_labels", 3))]
    edit_config(tmp_path, id2label={str(i): name for i, name in enumerate(names)})
    encoder = Encoder(tmp_path)
    assert encoder.labels == tuple(names)
    found = encoder.classify(TEXTS[:5])
    for text, labels in zip(TEXTS, found, strict=False):
        logits = pair.expected(pair.tokenizer(text).input_ids)[2]
        expected = dict(zip(names, probabilities(logits).tolist(), strict=True))
        assert {label.name: label.probability for label in labels} == pytest.approx(
            expected, abs=1e-5
        )
        assert [label.name for label in labels] == sorted(names, key=expected.get, reverse=True)
    assert encoder.classify(TEXTS[0]) == found[0]
    assert encoder.classify(TEXTS[0], TEXTS[1]) != found[0]


def test_nothing_to_encode(pair: Pair) -> None:
    output = pair.encoder.encode([])
    assert output.last_hidden_state == []
    assert output.pooler_output is not None
    assert output.pooler_output.shape == (0, 45)
    assert output.logits is not None
    assert output.logits.shape == (0, 3)
    assert pair.encoder.classify([]) == []


def test_asynchronous(pair: Pair) -> None:
    async def gather() -> list[EncoderOutput]:
        pending = [pair.encoder.encode_async(text, max_input_length=9) for text in TEXTS]
        return await asyncio.gather(*pending)

    expected = pair.encoder.encode(TEXTS, max_input_length=9)
    for i, output in enumerate(asyncio.run(gather())):
        assert np.array_equal(output.last_hidden_state[0], expected.last_hidden_state[i])
    late = pair.encoder.encode_async(TEXTS)
    assert len(late.result().last_hidden_state) == len(TEXTS)
    assert late.done()


def test_cancelled_encodings(pair: Pair) -> None:
    """The worker goes on with what others ask for."""
    pending = pair.encoder.encode_async(["dog " * 60] * 3000)
    pending.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        pending.result()
    assert pair.encoder.encode(TEXTS[0]).logits is not None


def test_translators_encode_while_they_translate() -> None:
    """In batches that both share."""
    translator = Translator(bundled_model())
    expected = translator.translate(GERMAN, tgt_lang="en")
    states = [translator.encode(text, tgt_lang="en") for text in GERMAN]
    pending = [translator.translate_async(GERMAN, tgt_lang="en") for _ in range(3)]
    for text, alone in zip(GERMAN, states, strict=True):
        assert np.array_equal(translator.encode(text, tgt_lang="en"), alone)
    assert [one.result() for one in pending] == [expected] * 3


def test_states_outlive_the_encoder(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    states = Encoder(tmp_path).encode(TEXTS[0]).last_hidden_state[0]
    assert close(states, pair.expected(pair.tokenizer(TEXTS[0]).input_ids)[0])


def test_pickled_encoders(pair: Pair) -> None:
    again = pickle.loads(pickle.dumps(pair.encoder))
    expected = pair.encoder.encode(TEXTS[0]).pooler_output
    assert np.array_equal(again.encode(TEXTS[0]).pooler_output, expected)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "number": (lambda e: e.encode(5), TypeError, "text is int"),
    "numbers": (lambda e: e.encode([5]), TypeError, "text 0 is int"),
    "surrogate": (
        lambda e: e.encode(["a", "\ud800"]),
        ValueError,
        "text 1 holds the lone surrogate",
    ),
    "pairs": (lambda e: e.encode(["a"], ["b", "c"]), OptionError, "2 text_pairs for 1 texts"),
    "length": (lambda e: e.encode("a", max_input_length=-1), OptionError, "max_input_length is -1"),
    "batch": (lambda e: e.encode("a", max_batch_size="x"), OptionError, "max_batch_size is 'x'"),
    "option": (lambda e: e.encode_async("a", beam_size=2), TypeError, "beam_size"),
    "text-as-tokens": (lambda e: e.forward_batch("dog"), TypeError, "input is str"),
    "empty": (lambda e: e.forward_batch([[5], []]), OptionError, "input 1 is empty"),
    "id": (lambda e: e.forward_batch([[9999]]), OptionError, "input 0 holds the id 9999"),
    "types": (lambda e: e.forward_batch([[5]], [[0, 1]]), OptionError, "1 tokens and 2 token_type"),
    "count": (lambda e: e.forward_batch([[5]], []), OptionError, "0 token_type_ids for 1 inputs"),
    "type": (lambda e: e.forward_batch([[5]], [[2]]), OptionError, "type 2"),
    "words": (lambda e: e.forward_batch([[5]], [["a"]]), TypeError, "token_type_ids 0 holds str"),
    "picture": (lambda e: e.pictures, OptionError, "reads texts, no pictures"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(pair: Pair, case: str) -> None:
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call(pair.encoder)


def edit_config(path: Path, **changes: Any) -> None:
    """Overrides keys of config.json."""
    config = path / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**values, **changes}), encoding="utf-8")
