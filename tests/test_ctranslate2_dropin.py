"""CTranslate2's interface: every call gives what CTranslate2 gives, errors and all."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

import pytransformer.ctranslate2 as dropin
from ctranslate2_calls import CALLS, read_records
from ctranslate2_models import LIVELY, write_model
from ctranslate2_peer import Peer, outcome
from pytransformer import PytransformerError

RECORDS = read_records()
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), LIVELY)


@pytest.fixture(scope="module")
def ours(model: Path) -> Peer:
    return Peer(dropin, model)


@pytest.fixture(scope="module")
def theirs(model: Path) -> Peer:
    return Peer(pytest.importorskip("ctranslate2"), model)


def same(found: Any, expected: Any) -> bool:
    """Equal, but for what rounding changes in numbers, and in numbers within a text."""
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same(found[key], expected[key]) for key in found
        )
    if isinstance(found, str) and isinstance(expected, str):
        number = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
        values = [[float(value) for value in number.findall(text)] for text in (found, expected)]
        return number.sub("", found) == number.sub("", expected) and same(*values)
    if isinstance(found, float) and isinstance(expected, (int, float)):
        return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))
    return bool(found == expected)


@pytest.mark.parametrize("name", CALLS)
def test_same_as_ctranslate2(ours: Peer, name: str) -> None:
    found = outcome(CALLS[name], ours)
    assert same(found, RECORDS[name]), f"\n{found}\n{RECORDS[name]}"


@pytest.mark.parametrize("name", CALLS)
def test_records_are_what_ctranslate2_gives(theirs: Peer, name: str) -> None:
    found = outcome(CALLS[name], theirs)
    assert same(found, RECORDS[name]), f"\n{found}\n{RECORDS[name]}"


# Keyword arguments of CTranslate2 4.8.5 with their defaults, after the names of the others.
SETTINGS = (
    "device_index=0 compute_type='default' inter_threads=1 intra_threads=0 max_queued_batches=0 "
    "flash_attention=False tensor_parallel=False files=None"
)
DECODING = (
    "beam_size=2 patience=1 num_hypotheses=1 length_penalty=1 coverage_penalty=0 "
    "repetition_penalty=1 no_repeat_ngram_size=0 disable_unk=False suppress_sequences=None "
    "end_token=None prefix_bias_beta=0 max_input_length=1024 max_decoding_length=256 "
    "min_decoding_length=1 use_vmap=False sampling_topk=1 sampling_topp=1 sampling_temperature=1 "
    "replace_unknowns=False "
)
FUNCTIONS = "source_tokenize_fn=None target_tokenize_fn=None target_detokenize_fn=None"
SIGNATURES = {
    "__init__": f"model_path device='cpu' * {SETTINGS}",
    "translate_batch": (
        "source target_prefix=None * max_batch_size=0 batch_type='examples' asynchronous=False "
        f"{DECODING} return_end_token=False return_scores=False return_logits_vocab=False "
        "return_attention=False return_alternatives=False min_alternative_expansion_prob=0 "
        "callback=None"
    ),
    "translate_file": (
        "source_path output_path target_path=None * max_batch_size=32 read_batch_size=0 "
        f"batch_type='examples' {DECODING} with_scores=False {FUNCTIONS}"
    ),
    "score_batch": (
        "source target * max_batch_size=0 batch_type='examples' max_input_length=1024 offset=0 "
        "asynchronous=False"
    ),
    "score_file": (
        "source_path target_path output_path * max_batch_size=32 read_batch_size=0 "
        "batch_type='examples' max_input_length=1024 offset=0 with_tokens_score=False "
        f"{FUNCTIONS}"
    ),
    "translate_iterable": ("source target_prefix=None max_batch_size=32 batch_type='examples' **"),
    "score_iterable": "source target max_batch_size=64 batch_type='examples' **",
    "generate_tokens": (
        "source target_prefix=None * max_decoding_length=256 min_decoding_length=1 "
        "sampling_topk=1 sampling_topp=1 sampling_temperature=1 return_log_prob=False "
        "repetition_penalty=1 no_repeat_ngram_size=0 disable_unk=False suppress_sequences=None "
        "end_token=None max_input_length=1024 use_vmap=False"
    ),
    "unload_model": "to_cpu=False",
    "load_model": "keep_cache=False",
}
PROPERTIES = {
    "compute_type", "device", "device_index", "model_is_loaded", "num_active_batches",
    "num_queued_batches", "num_translators", "tensor_parallel",
}  # fmt: skip


def parameters(function: Callable[..., Any]) -> tuple[list[str], set[str]]:
    """Those that may be given by place, in their order, and those that are keywords only."""
    places, keywords = [], set()
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind == parameter.VAR_KEYWORD:
            keywords.add("**")
            continue
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        if parameter.kind == parameter.KEYWORD_ONLY:
            keywords.add(name + default)
        else:
            places.append(name + default)
    return places, keywords


def documented_parameters(text: str) -> list[str]:
    """Those that the first line of a docstring of pybind11 tells, without types."""
    text = text.split(") ->")[0].partition("(")[2]
    parts, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    found = []
    for part in parts:
        name, _, rest = part.strip().partition(":")
        default = rest.rpartition(" = ")[2] if " = " in rest else ""
        if name not in ("self", "*"):
            found.append(f"{name}={default}" if default else name)
    return found


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    before, _, behind = SIGNATURES[name].partition(" * ")
    wanted = before.split()
    keywords = {*behind.split(), *(word for word in wanted if word == "**")}
    places = [word for word in wanted if word != "**"]
    assert parameters(getattr(dropin.Translator, name)) == (places, keywords)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_ctranslate2s(name: str) -> None:
    real = pytest.importorskip("ctranslate2")
    function = getattr(real.Translator, name)
    wanted = SIGNATURES[name].replace(" * ", " ").split()
    if inspect.isfunction(function):
        places, keywords = parameters(function)
        found = [*places, *keywords]
    else:
        found = documented_parameters(function.__doc__)
    assert sorted(found) == sorted(wanted)


def test_names_of_the_module_are_ctranslate2s() -> None:
    """Those of speech and of several machines are left out."""
    real = pytest.importorskip("ctranslate2")
    left_out = {"MpiInfo", "extensions", "logging", "sys", "version"}
    names = {name for name in dir(real) if not name.startswith("_")} - left_out
    assert {name for name in names if not hasattr(dropin, name)} == set()


def test_properties() -> None:
    found = {
        name
        for name in dir(dropin.Translator)
        if isinstance(inspect.getattr_static(dropin.Translator, name), property)
    }
    assert found == PROPERTIES


def test_another_program_can_take_it_for_ctranslate2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ctranslate2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ctranslate2", dropin)
    import ctranslate2
    from ctranslate2.converters import TransformersConverter
    from ctranslate2.specs import model_spec

    assert ctranslate2.Translator is dropin.Translator
    assert TransformersConverter.__name__ == "TransformersConverter"
    assert "int8" in model_spec.ACCEPTED_MODEL_TYPES
    assert ctranslate2.__version__.split(".")[0] == "4"
    for name in [name for name in sys.modules if name.startswith("ctranslate2.")]:
        monkeypatch.delitem(sys.modules, name)


class TestErrors:
    """They are ours as well as Python's."""

    def test_models(self) -> None:
        with pytest.raises(PytransformerError, match=r"Unable to open file 'model\.bin'"):
            dropin.Translator("/nowhere")

    def test_damaged_models(self, model: Path, tmp_path: Path) -> None:
        for item in model.iterdir():
            (tmp_path / item.name).write_bytes(item.read_bytes())
        (tmp_path / "model.bin").write_bytes((model / "model.bin").read_bytes()[:-9])
        with pytest.raises(RuntimeError, match="ends early"):
            dropin.Translator(str(tmp_path))

    def test_positions(self, ours: Peer) -> None:
        """The model has 24."""
        with pytest.raises(RuntimeError, match=r"No position encodings .* >= 24"):
            ours.translate([["5"] * 30])
        with pytest.raises(RuntimeError, match="positions"):
            ours.translator.score_batch([["5"]], [["6"] * 30])
        assert len(ours.translate([["5"] * 30], max_input_length=24)) == 1

    def test_a_callback_may_raise(self, ours: Peer) -> None:
        def callback(step: Any) -> bool:
            raise KeyError(step.token)

        with pytest.raises(KeyError):
            ours.translate([["12", "13"]], beam_size=1, callback=callback)
        assert ours.translator.num_active_batches == 0

    @pytest.mark.parametrize("name", ["../model.bin", "", "a/b", ".."])
    def test_names_of_files_in_memory(self, name: str) -> None:
        with pytest.raises(ValueError, match="is not a plain file name"):
            dropin.Translator("x", files={name: b""})

    @pytest.mark.parametrize("what", ["Whisper", "Wav2Vec2"])
    def test_models_of_speech(self, what: str) -> None:
        with pytest.raises(AttributeError, match="only models that translate"):
            getattr(dropin.models, what)


class TestSampling:
    OPTIONS: ClassVar[dict[str, Any]] = {
        "beam_size": 1,
        "sampling_topk": 8,
        "max_decoding_length": 12,
    }

    def test_seeds(self, ours: Peer) -> None:
        def draw(seed: int) -> list[list[list[str]]]:
            dropin.set_random_seed(seed)
            results = ours.translate([["12", "13"]] * 6, num_hypotheses=2, **self.OPTIONS)
            return [result.hypotheses for result in results]

        first = draw(1)
        assert draw(1) == first
        assert draw(2) != first
        # The same source is drawn for each time anew.
        assert len({str(hypotheses) for hypotheses in first}) > 1

    def test_samples_have_numbers(self, ours: Peer) -> None:
        told = []
        (result,) = ours.translate(
            [["12", "13"]], num_hypotheses=3, callback=told.append, **self.OPTIONS
        )
        assert len(result.hypotheses) == 3
        assert {step.hypothesis_id for step in told} == {0, 1, 2}
        spoken = {
            tuple(
                step.token for step in told if step.hypothesis_id == sample and step.token != "</s>"
            )
            for sample in range(3)
        }
        assert spoken == {tuple(tokens) for tokens in result.hypotheses}


class TestStreams:
    def test_a_generator_that_is_closed_ends_the_search(self, ours: Peer) -> None:
        steps = ours.translator.generate_tokens(["12", "13", "19"])
        assert next(steps).step == 0
        steps.close()
        assert ours.translator.num_active_batches == 0

    def test_an_iterable_is_not_held_as_a_whole(self, ours: Peer) -> None:
        read = 0

        def sources() -> Any:
            nonlocal read
            for _ in range(20_000):
                read += 1
                yield ["12"]

        results = ours.translator.translate_iterable(sources(), max_batch_size=2, beam_size=1)
        next(iter(results))
        assert read < 2000


def test_vocabulary_map(model: Path, tmp_path: Path) -> None:
    for item in model.iterdir():
        (tmp_path / item.name).write_bytes(item.read_bytes())
    (tmp_path / "vmap.txt").write_text("\t4 6\n12\t8\n12 13\t9 10\n19\t1\n")
    ours = dropin.Translator(str(tmp_path), compute_type="float32")
    options: dict[str, Any] = {"beam_size": 1, "max_decoding_length": 20, "min_decoding_length": 20}
    always = {"4", "6", "<unk>", "<s>"}

    def said(source: list[str], **more: Any) -> set[str]:
        (result,) = ours.translate_batch([source], **options, **more)
        return set(result.hypotheses[0])

    assert not said(["12", "13"]) <= {*always, "8", "9", "10"}
    assert said(["12", "13"], use_vmap=True) <= {*always, "8", "9", "10"}
    assert said(["19", "x"], use_vmap=True) <= {*always, "1"}
    real = pytest.importorskip("ctranslate2").Translator(str(tmp_path), compute_type="float32")
    for source in (["12", "13"], ["13", "12"], ["19", "12", "13"], ["x"]):
        found = ours.translate_batch([source], use_vmap=True, **options)
        expected = real.translate_batch([source], use_vmap=True, **options)
        assert found[0].hypotheses == expected[0].hypotheses


def test_replaced_unknowns(tmp_path: Path) -> None:
    """Both name the same word of the source, if it is clear which is attended to."""
    path = write_model(tmp_path, LIVELY)
    words = ["one", "13", "three", "</s>"]
    options: dict[str, Any] = {"beam_size": 1, "max_decoding_length": 6, "replace_unknowns": True}
    prefix = [["<unk>", "5", "<unk>"]]
    (found,) = dropin.Translator(str(path)).translate_batch([words], prefix, **options)
    assert found.hypotheses[0][0] in words
    assert found.hypotheses[0][2] in words
    real = pytest.importorskip("ctranslate2").Translator(str(path), compute_type="float32")
    (expected,) = real.translate_batch([words], prefix, **options)
    assert found.hypotheses == expected.hypotheses
