"""The doors of `Generator`: texts, streams, callbacks, results that are not there yet, errors."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Tokenizer

from huggingface_alone import END, corpus, make_gpt2
from pytransformer import (
    GenerationStepResult,
    Generator,
    InputLengthError,
    OptionError,
    TranslationOptions,
)

PROMPTS = [*list(corpus())[:20], "x", "The dog, ran (slowly) — 犬", "\n\n", " ", "don't it's\tso"]
SAMPLED: dict[str, Any] = {"sampling_topk": 0, "seed": 7}


class Door:
    """A generator of random texts, whose characters are often broken by tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = make_gpt2(path)
        self.tokenizer = GPT2Tokenizer.from_pretrained(path)
        self.generator = Generator(path)

    def expected(self, prompt: str, **options: Any) -> str:
        """What transformers makes of the tokens behind a prompt."""
        ids = self.tokenizer(prompt).input_ids or [END]
        (result,) = self.generator.generate_batch([ids], **options)
        text: str = self.tokenizer.decode([*ids, *result.ids[0]], skip_special_tokens=True)
        return text[len(self.tokenizer.decode(ids, skip_special_tokens=True)) :]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("gpt2"))


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}, SAMPLED])
def test_texts(door: Door, options: dict[str, Any]) -> None:
    expected = [door.expected(prompt, **options) for prompt in PROMPTS]
    assert door.generator.generate(PROMPTS, **options) == expected
    assert door.generator.generate(PROMPTS[0], **options) == expected[0]
    both = door.generator.generate(iter(PROMPTS), include_prompt_in_result=True, **options)
    assert both == [a + b for a, b in zip(PROMPTS, expected, strict=True)]
    assert len(set(expected)) == len(expected)


def test_empty_prompts_are_the_start_token(door: Door) -> None:
    assert door.generator.generate("") == door.expected("")
    empty, start = door.generator.generate_batch([[], [END]])
    assert empty == start
    assert empty.ids[0]


@pytest.mark.parametrize("options", [{}, {"beam_size": 4}, SAMPLED, {"repetition_penalty": 2.0}])
def test_streams(door: Door, options: dict[str, Any]) -> None:
    """All pieces together are the result, with or without the prompt."""
    several = 0
    for prompt in [*PROMPTS, ""]:
        for include in (False, True):
            arguments = {**options, "include_prompt_in_result": include}
            pieces = list(door.generator.generate_stream(prompt, **arguments))
            assert "".join(pieces) == door.generator.generate(prompt, **arguments)
            assert all(pieces)
            several += len(pieces) > 1
    assert several > 10


def test_streams_that_are_closed_end(door: Door) -> None:
    stream = door.generator.generate_stream(PROMPTS[0], min_decoding_length=60)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(stream)


def test_asynchronous_texts(door: Door) -> None:
    async def gather() -> list[str]:
        pending = [door.generator.generate_async(prompt) for prompt in PROMPTS]
        return await asyncio.gather(*pending)

    async def streamed() -> str:
        return "".join([p async for p in door.generator.generate_stream_async(PROMPTS[0])])

    expected = door.generator.generate(PROMPTS)
    assert asyncio.run(gather()) == expected
    assert asyncio.run(streamed()) == expected[0]
    assert door.generator.generate_async(PROMPTS).result() == expected


def ids_of(door: Door) -> list[list[int]]:
    return [door.tokenizer(prompt).input_ids for prompt in PROMPTS]


def test_tokens_and_ids(door: Door) -> None:
    ids = ids_of(door)
    tokens = [door.tokenizer.convert_ids_to_tokens(one) for one in ids]
    found = door.generator.generate_batch(ids, num_hypotheses=2, beam_size=3, return_scores=True)
    assert (
        door.generator.generate_batch(tokens, num_hypotheses=2, beam_size=3, return_scores=True)
        == found
    )
    with_prompt = door.generator.generate_batch(
        tokens, num_hypotheses=2, beam_size=3, return_scores=True, include_prompt_in_result=True
    )
    for one, two, prompt, names in zip(found, with_prompt, ids, tokens, strict=True):
        assert one.sequences is one.hypotheses
        assert one.sequences_ids is one.ids
        assert one.sequences == [door.tokenizer.convert_ids_to_tokens(i) for i in one.ids]
        assert two.ids == [[*prompt, *i] for i in one.ids]
        assert two.sequences == [[*names, *t] for t in one.sequences]
        assert (two.scores, two.log_probs) == (one.scores, one.log_probs)


def test_other_doors_give_the_same(door: Door) -> None:
    ids = ids_of(door)
    expected = door.generator.generate_batch(ids, return_scores=True)
    pending = door.generator.generate_batch(ids, return_scores=True, asynchronous=True)
    assert [one.result() for one in pending] == expected
    assert list(door.generator.generate_iterable(iter(ids), 3, return_scores=True)) == expected
    streamed = door.generator.generate_iterable(
        ids, return_scores=True, include_prompt_in_result=True
    )
    assert [one.ids[0][: len(prompt)] for one, prompt in zip(streamed, ids, strict=True)] == ids
    for prompt, result in zip(ids, expected, strict=True):
        steps = list(door.generator.generate_tokens(prompt, return_log_prob=True))
        assert [step.token_id for step in steps] == result.ids[0]
        assert [step.log_prob for step in steps] == result.log_probs[0][: len(steps)]
        assert [step.step for step in steps] == list(range(len(steps)))


def test_callbacks(door: Door) -> None:
    """A text ends where its callback says; the others go on."""
    ids = ids_of(door)
    whole = door.generator.generate_batch(ids)

    def stop(step: GenerationStepResult) -> bool:
        return step.batch_id % 2 == 0 and step.step == 2

    found = door.generator.generate_batch(ids, callback=stop)
    for index, (one, expected) in enumerate(zip(found, whole, strict=True)):
        stops = index % 2 == 0 and len(expected.ids[0]) > 3
        assert one.ids[0] == (expected.ids[0][:3] if stops else expected.ids[0])
    with pytest.raises(OptionError, match="callback does not go with asynchronous"):
        door.generator.generate_batch(ids, callback=stop, asynchronous=True)


def test_scores_by_other_doors(door: Door) -> None:
    ids = [*ids_of(door), [], [5]]
    expected = door.generator.score_batch(ids)
    assert expected[-1].log_probs == expected[-2].log_probs == []
    pending = door.generator.score_batch(ids, asynchronous=True)
    assert [one.result() for one in pending] == expected
    assert list(door.generator.score_iterable(iter(ids), 4)) == expected
    assert [one.ids for one in door.generator.score_batch(ids, offset=2)] == [i[3:] for i in ids]
    tokens = [door.tokenizer.convert_ids_to_tokens(one) for one in ids]
    assert door.generator.score_batch(tokens, max_batch_size=9, batch_type="tokens") == expected


def test_texts_of_all_positions_are_scored(door: Door) -> None:
    """The last token need not be read by the model; one more has no position."""
    ids = (ids_of(door)[0] * 90)[:91]
    assert len(door.generator.score_batch([ids])[0].log_probs) == 90
    with pytest.raises(OptionError, match=r"91|90"):
        door.generator.score_batch([[*ids, 5]])


def test_options_have_the_checkpoints_defaults(door: Door, tmp_path: Path) -> None:
    make_gpt2(tmp_path)
    config = '{"max_new_tokens": 7, "min_new_tokens": 7, "num_beams": 2, "eos_token_id": 0}'
    (tmp_path / "generation_config.json").write_text(config)
    generator = Generator(tmp_path)
    assert generator.limits.defaults["max_decoding_length"] == 7
    assert generator.limits.defaults["beam_size"] == 2
    assert [len(r.ids[0]) for r in generator.generate_batch(ids_of(door))] == [7] * len(PROMPTS)
    assert door.generator.limits.defaults["max_decoding_length"] == 89


def test_pickled_generators(door: Door) -> None:
    again = pickle.loads(pickle.dumps(door.generator))
    assert again.generate(PROMPTS[0]) == door.generator.generate(PROMPTS[0])


def test_prompts_without_room_are_errors(door: Door) -> None:
    message = r"input 1 is a prompt of 90 tokens, .* room for prompts of at most 89"
    with pytest.raises(InputLengthError, match=message) as error:
        door.generator.generate_batch([[5], [5] * 90])
    assert error.value.index == 1
    with pytest.raises(InputLengthError, match="input 0 is a prompt of"):
        door.generator.generate("dog " * 200)
    with pytest.raises(InputLengthError, match="input 2"):
        list(door.generator.generate_iterable([[5], [5], [5] * 90]))
    assert len(door.generator.generate_batch([[5] * 89])[0].ids[0]) <= 1


OF_SOURCES: dict[str, Any] = {
    "coverage_penalty": 1.0,
    "max_length_factor": 1.0,
    "max_input_length": 5,
    "prefix_bias_beta": 0.5,
    "replace_unknowns": True,
    "return_attention": True,
    "decoder_start_token_id": 5,
}


@pytest.mark.parametrize("name", OF_SOURCES)
def test_options_that_concern_a_source(door: Door, name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} needs an encoder"):
        door.generator.generate("a", **{name: OF_SOURCES[name]})


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "number": (lambda g: g.generate(5), TypeError, "text is int"),
    "numbers": (lambda g: g.generate([5]), TypeError, "text 0 is int"),
    "surrogate": (lambda g: g.generate(["a", "\ud800"]), ValueError, "text 1 holds the lone"),
    "stream-of-several": (lambda g: g.generate_stream(["a"]), TypeError, "prompt is list"),
    "unknown-option": (lambda g: g.generate("a", max_length=5), OptionError, "max_decoding_length"),
    "language": (lambda g: g.generate("a", tgt_lang="de"), OptionError, "tgt_lang"),
    "text-as-tokens": (lambda g: g.generate_batch("dog"), TypeError, "prompt is str"),
    "id": (lambda g: g.generate_batch([[5], [9999]]), OptionError, "prompt 1 holds the id 9999"),
    "length": (lambda g: g.generate("a", max_decoding_length=90), OptionError, "only 89"),
    "shortlist": (lambda g: g.generate("a", use_vmap=True), OptionError, "no shortlist"),
    "offset": (lambda g: g.score_batch([[5]], offset=-1), OptionError, "offset is -1"),
    "scored": (lambda g: g.score_batch([["a", 5]]), TypeError, "both tokens and ids"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(door: Door, case: str) -> None:
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call(door.generator)


def test_every_option_is_taken_or_refused(door: Door) -> None:
    """With its default; none is unknown to a generator."""
    defaults = door.generator.limits.defaults
    assert set(defaults) == set(TranslationOptions.__dataclass_fields__)
    options = {name: value for name, value in defaults.items() if value not in (-1, ())}
    assert door.generator.generate(PROMPTS[0], **options) == door.generator.generate(PROMPTS[0])


def test_phrases(door: Door) -> None:
    """Text that must come, and text that must not."""
    found = door.generator.generate(PROMPTS[1], beam_size=4, force_phrases=[" green house"])
    assert " green house" in found
    (plain,) = door.generator.generate_batch([[5, 6, 7]])
    pair = tuple(plain.ids[0][:2])
    (other,) = door.generator.generate_batch([[5, 6, 7]], suppress_sequences=[pair])
    assert other.ids[0][0] == pair[0]
    assert other.ids[0][1] != pair[1]
