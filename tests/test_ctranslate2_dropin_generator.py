"""CTranslate2's Generator: calls give what CTranslate2 gives for the same GPT-2."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytransformer.ctranslate2 as dropin
from ctranslate2_peer import outcome
from huggingface_alone import make_gpt2
from pytransformer import Generator
from test_ctranslate2_dropin import documented_parameters, parameters, same

PROMPT_IDS = ((270, 300, 310, 320, 330), (271, 301), (280,), (105, 300, 42))
POSITIONS = 90


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpt2")
    make_gpt2(path)
    return path


class Model:
    """A module's generator, with prompts as tokens."""

    def __init__(self, module: Any, path: Path, tokens: list[str]) -> None:
        self.module = module
        self.generator = module.Generator(str(path), compute_type="float32", intra_threads=1)
        self.tokens = tokens
        self.prompts = [[tokens[i] for i in ids] for ids in PROMPT_IDS]

    def generate(self, **options: Any) -> Any:
        """Prompts one by one: in CTranslate2 those beside it change what is searched."""
        return [self.results([prompt], **options)[0] for prompt in self.prompts]

    def results(self, prompts: Any, **options: Any) -> Any:
        found = self.generator.generate_batch(prompts, **{"max_length": 12, **options})
        return [generated(one) for one in found]

    def view(self, values: Any, kind: type = np.int32) -> Any:
        return self.module.StorageView.from_array(np.array(values, kind))


def generated(result: Any) -> dict[str, Any]:
    logits = [[np.array(row).tolist() for row in steps] for steps in result.logits]
    return {
        "sequences": result.sequences, "ids": result.sequences_ids, "scores": result.scores,
        "logits": logits,
    }  # fmt: skip


def scored(results: Any) -> list[Any]:
    return [[result.tokens, result.log_probs] for result in results]


def told(steps: Any) -> list[Any]:
    return [
        [one.step, one.batch_id, one.token_id, one.hypothesis_id, one.token, one.log_prob,
         one.is_last]
        for one in steps
    ]  # fmt: skip


def tokens_of(path: Path) -> list[str]:
    generator = Generator(path)
    return generator.tokenizer.target_tokens(range(generator.forward_batch([[1]])[0].shape[1]))


@pytest.fixture(scope="module")
def ours(path: Path) -> Model:
    return Model(dropin, path, tokens_of(path))


@pytest.fixture(scope="module")
def theirs(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    real = pytest.importorskip("ctranslate2")
    converters = pytest.importorskip("ctranslate2.converters")
    converted = tmp_path_factory.mktemp("converted") / "model"
    converters.TransformersConverter(str(path)).convert(str(converted))
    return Model(real, converted, tokens_of(path))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "beam": {"beam_size": 3, "num_hypotheses": 3},
    "patience": {"beam_size": 2, "patience": 2, "num_hypotheses": 4},
    "length_penalty": {"beam_size": 3, "length_penalty": 0.3},
    "least": {"min_length": 12, "max_length": 14},
    "short": {"max_length": 2},
    "long": {"max_length": 60},
    "return_end_token": {"max_length": 60, "return_end_token": True},
    "end_token": {"end_token": [189, 110, 0]},
    "logits": {"return_logits_vocab": True, "min_length": 2, "max_length": 6},
    "alternatives": {"return_alternatives": True, "num_hypotheses": 3},
    "static_prompt": {"static_prompt": ["a", "b"]},
    "static_prompt_beam": {"static_prompt": ["a"], "beam_size": 2, "max_length": 7},
    "disable_unk": {"disable_unk": True, "max_length": 40},
    "suppress_sequences": {"suppress_sequences": [["a"], ["e", "n"]], "max_length": 40},
    "temperature_of_0": {"sampling_topk": 5, "sampling_temperature": 0},
}


@pytest.mark.parametrize(
    ("name", "include"),
    # CTranslate2 takes the prompt off the length of alternatives, which the next test allows for.
    [(name, i) for name in OPTIONS for i in (True, False) if i or name != "alternatives"],
)
def test_searches(ours: Model, theirs: Model, name: str, include: bool) -> None:
    options = {"return_scores": True, "include_prompt_in_result": include, **OPTIONS[name]}
    found, expected = ours.generate(**options), theirs.generate(**options)
    assert same(found, expected), f"\n{found}\n{expected}"


def test_alternatives_without_the_prompt(ours: Model, theirs: Model) -> None:
    options = {**OPTIONS["alternatives"], "include_prompt_in_result": False, "return_scores": True}
    for prompt in ours.prompts:
        found = ours.results([prompt], **options, max_length=13 - len(prompt))
        assert same(found, theirs.results([prompt], **options, max_length=12))


def test_repetition_with_the_prompt(ours: Model, theirs: Model) -> None:
    for options in ({"repetition_penalty": 1.6}, {"no_repeat_ngram_size": 2}):
        both = [one.generate(**options, return_scores=True) for one in (ours, theirs)]
        assert same(*both), both


@pytest.mark.parametrize("include", [True, False])
def test_batches_change_nothing(ours: Model, include: bool) -> None:
    options: dict[str, Any] = {"include_prompt_in_result": include, "return_scores": True}
    expected = ours.generate(**options)
    assert ours.results(ours.prompts, **options) == expected
    later = ours.generator.generate_batch(
        ours.prompts, max_length=12, asynchronous=True, max_batch_size=2, **options
    )
    assert all(isinstance(one, dropin.AsyncGenerationResult) for one in later)
    assert [generated(one.result()) for one in later] == expected
    stream = ours.generator.generate_iterable(
        iter(ours.prompts), max_batch_size=2, max_length=12, **options
    )
    assert [generated(one) for one in stream] == expected


CALLS: dict[str, Callable[[Model], Any]] = {
    "no prompts": lambda m: m.results([]),
    "empty prompt": lambda m: m.results([[]]),
    "unknown token": lambda m: m.results([["zzz", m.tokens[300]]]),
    "end within the prompt": lambda m: m.results([[m.tokens[300], m.tokens[0], m.tokens[301]]]),
    "ids": lambda m: m.results([[1, 2]]),
    "text": lambda m: m.results("abc"),
    "unknown option": lambda m: m.results(m.prompts, max_decoding_length=3),
    "no length": lambda m: m.results(m.prompts, max_length=0),
    "no beam": lambda m: m.results(m.prompts, beam_size=0),
    "too many hypotheses": lambda m: m.results(m.prompts, num_hypotheses=2),
    "callback with a beam": lambda m: m.results(
        m.prompts, beam_size=2, callback=lambda step: False
    ),
    "unknown batch type": lambda m: m.results(m.prompts, batch_type="letters"),
    "prompt beyond the positions": lambda m: m.results(
        [[m.tokens[300]] * (POSITIONS + 5)], include_prompt_in_result=False
    ),
    "cut prompt": lambda m: m.results([[m.tokens[300]] * (POSITIONS + 5)], return_scores=True),
    "callback": lambda m: m.results(
        m.prompts[:1], callback=lambda step: step.step >= 6, return_scores=True
    ),
    "callback without the prompt": lambda m: m.results(
        m.prompts[:1],
        callback=lambda step: step.step >= 2,
        return_scores=True,
        include_prompt_in_result=False,
    ),
    "steps": lambda m: told(
        m.generator.generate_tokens(m.prompts[0], max_length=60, return_log_prob=True)
    ),
    "steps without scores": lambda m: told(m.generator.generate_tokens(m.prompts[1], max_length=3)),
    "steps to an end token": lambda m: told(
        m.generator.generate_tokens(m.prompts[0], end_token=m.tokens[332])
    ),
    "scores": lambda m: scored(m.generator.score_batch(m.prompts)),
    "scores of few tokens": lambda m: scored(
        m.generator.score_batch([[], [m.tokens[300]], ["zzz", "yyy"]])
    ),
    "scores of cut texts": lambda m: scored(m.generator.score_batch(m.prompts, max_input_length=2)),
    "scores beyond the positions": lambda m: scored(
        m.generator.score_batch([[m.tokens[300]] * (POSITIONS + 5)])
    ),
    "scores at the end of the positions": lambda m: scored(
        m.generator.score_batch([[m.tokens[300]] * (POSITIONS + 1)])
    ),
    "stream of scores": lambda m: scored(m.generator.score_iterable(m.prompts, max_batch_size=2)),
    "later scores": lambda m: scored(
        [one.result() for one in m.generator.score_batch(m.prompts, asynchronous=True)]
    ),
    "offset of scores": lambda m: scored(m.generator.score_batch(m.prompts, offset=1)),
    "logits": lambda m: np.array(m.generator.forward_batch([PROMPT_IDS[0]])).tolist(),
    "log-probabilities": lambda m: np.array(
        m.generator.forward_batch(m.prompts[:1], return_log_probs=True)
    ).tolist(),
    "dense logits": lambda m: np.array(
        m.generator.forward_batch(m.view([[270, 300], [5, 6]]), m.view([2, 2]))
    ).tolist(),
    "dense without lengths": lambda m: m.generator.forward_batch(m.view([[270, 300]])),
    "lengths of another number": lambda m: m.generator.forward_batch(
        m.view([[270, 300]]), m.view([2, 2])
    ),
    "logits beyond the positions": lambda m: m.generator.forward_batch([[1] * (POSITIONS + 1)]),
    "properties": lambda m: [
        m.generator.device,
        m.generator.device_index,
        m.generator.compute_type,
        m.generator.num_generators,
        m.generator.num_active_batches,
        m.generator.num_queued_batches,
        m.generator.model_is_loaded,
    ],
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(ours: Model, theirs: Model, name: str) -> None:
    found, expected = outcome(CALLS[name], ours), outcome(CALLS[name], theirs)  # type: ignore[arg-type]
    assert same(found, expected), f"\n{found}\n{expected}"


def test_shorter_inputs_are_padded(ours: Model, path: Path) -> None:
    view = ours.generator.forward_batch(ours.prompts)
    assert isinstance(view, dropin.StorageView)
    assert view.dtype == dropin.DataType.float32
    values = np.asarray(view)
    dense = np.zeros((len(PROMPT_IDS), 5), np.int32)
    for row, ids in zip(dense, PROMPT_IDS, strict=True):
        row[: len(ids)] = ids
    lengths = ours.view([len(ids) for ids in PROMPT_IDS])
    again = ours.generator.forward_batch(ours.view(dense), lengths)
    assert np.array_equal(values, again)
    expected = Generator(path).forward_batch(PROMPT_IDS)
    for row, logits in zip(values, expected, strict=True):
        assert np.array_equal(row[: len(logits)], logits)
        assert not row[len(logits) :].any()


@pytest.mark.parametrize("inputs", [[[400]], [[-1]], [[]], [[1], []]])
def test_ids_that_cannot_be(ours: Model, inputs: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="input"):
        ours.generator.forward_batch(inputs)


def test_steps_of_several_prompts(ours: Model) -> None:
    expected = ours.generate(include_prompt_in_result=False)
    found: dict[int, list[int]] = {}
    for step in ours.generator.generate_tokens(ours.prompts, max_length=12):
        found.setdefault(step.batch_id, []).append(step.token_id)
    for place, result in enumerate(expected):
        ids = [token_id for token_id in found[place] if token_id != 0]
        assert ids == result["ids"][0]
    stopped = ours.generator.generate_tokens(
        ours.prompts, callback=lambda step: step.batch_id > 0 and step.step == 1, max_length=4
    )
    counts = [0] * len(ours.prompts)
    for step in stopped:
        counts[step.batch_id] += 1
    assert counts == [4, 2, 2, 2]


def test_asynchronous_steps(ours: Model) -> None:
    options: dict[str, Any] = {"max_length": 9, "return_log_prob": True}

    async def collect() -> list[Any]:
        steps = ours.generator.async_generate_tokens(ours.prompts[0], **options)
        return [step async for step in steps]

    assert told(asyncio.run(collect())) == told(
        ours.generator.generate_tokens(ours.prompts[0], **options)
    )


def test_samples_by_seed(ours: Model) -> None:
    options: dict[str, Any] = {"sampling_topk": 20, "num_hypotheses": 3}
    found = []
    for seed in (1, 1, 2):
        dropin.set_random_seed(seed)
        found.append(ours.results(ours.prompts, **options))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_converted_and_in_memory(
    ours: Model, path: Path, tmp_path: Path, quantization: str | None
) -> None:
    from pytransformer.ctranslate2.converters import TransformersConverter

    converted = tmp_path / "converted"
    TransformersConverter(str(path)).convert(str(converted), quantization=quantization)
    assert {item.name for item in converted.iterdir()} == {
        "config.json", "model.bin", "vocabulary.json",
    }  # fmt: skip
    generator = dropin.Generator(str(converted), intra_threads=1)
    files = {item.name: item.read_bytes() for item in converted.iterdir()}
    in_memory = dropin.Generator("a name", files=files, intra_threads=1)
    found = [
        [generated(result) for result in one.generate_batch(ours.prompts, max_length=12)]
        for one in (generator, in_memory)
    ]
    assert found[0] == found[1]
    if quantization is None:
        assert found[0] == ours.generate()
    else:
        assert generator.compute_type == "int8_float32"


def test_unloaded(path: Path) -> None:
    generator = dropin.Generator(str(path))
    generator.unload_model()
    assert not generator.model_is_loaded
    with pytest.raises(RuntimeError, match="unloaded"):
        generator.generate_batch([["a"]])
    generator.load_model()
    assert generator.generate_batch([["a"]], max_length=2)[0].sequences


def test_what_cannot_be_opened(theirs: Model, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Unable to open file 'model.bin'"):
        dropin.Generator(str(tmp_path / "nothing"))
    with pytest.raises(RuntimeError):
        dropin.Generator(str(tmp_path))
    with pytest.raises(RuntimeError, match=r"config\.json"):
        dropin.Generator("text", files={"config.json": b"text"})


@pytest.mark.parametrize(
    "name",
    ["__init__", "generate_batch", "generate_iterable", "generate_tokens", "score_batch",
     "score_iterable", "forward_batch", "async_generate_tokens", "load_model", "unload_model"],
)  # fmt: skip
def test_signatures_are_ctranslate2s(name: str) -> None:
    real = getattr(pytest.importorskip("ctranslate2").Generator, name)
    places, keywords = parameters(getattr(dropin.Generator, name))
    if real.__doc__ and real.__doc__.startswith(name):
        assert sorted([*places, *keywords]) == sorted(documented_parameters(real.__doc__))
    else:
        wanted, others = parameters(real)
        assert (places, keywords) == (wanted, others)


def test_properties_are_ctranslate2s() -> None:
    real = pytest.importorskip("ctranslate2").Generator
    names = [name for name in dir(real) if not name.startswith("_")]
    assert [name for name in names if not hasattr(dropin.Generator, name)] == []
