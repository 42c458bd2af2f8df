"""The parts of the benchmark, on made-up figures and models."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

import pytransformer
from pytransformer.benchmark import footprint, measure, stages
from pytransformer.benchmark.engines import Opener
from pytransformer.benchmark.machine import Machine
from pytransformer.benchmark.measure import Timings
from pytransformer.benchmark.native_to_huggingface import write_directory
from pytransformer.benchmark.random_checkpoint import Shape, random_sentences, write_checkpoint
from pytransformer.benchmark.workload import Batch, Workload, read_lines
from pytransformer.decoding import resolve
from pytransformer.errors import OptionError, UnsupportedModelError
from pytransformer.model_files import open_model
from pytransformer.options import TranslationOptions
from random_models import model_spec, stack

MACHINE = Machine(
    processor="made up",
    isa="portable",
    cores=2,
    threads=1,
    peak_gops={"float32": 1e-3, "bfloat16": 2e-3, "int8": 4e-3},
    memory_gbps=1e-4,
    weights_gbps=2e-4,
    weights_bytes=1000,
)
SPEC = model_spec(
    encoder=stack(num_layers=1, d_model=6, num_heads=2, head_dim=4, d_ff=5, vocab_size=9),
    decoder=stack(num_layers=2, d_model=7, num_heads=3, head_dim=2, d_ff=3, vocab_size=11),
)
PROFILE = {
    "encoder_seconds": 0.1, "decoder_seconds": 0.4, "attention_seconds": 0.1,
    "output_seconds": 0.2, "search_seconds": 0.05, "encoder_passes": 2, "encoder_rows": 20,
    "encoder_attention_pairs": 200, "steps": 16, "step_rows": 40, "self_attention_keys": 100,
    "cross_attention_keys": 300, "cross_attention_sentences_keys": 150,
}  # fmt: skip
# Query, key, value and output, then the two matrices of the feed-forward layer.
ENCODER = 4 * 6 * 8 + 2 * 6 * 5
CROSS_KEYS_AND_VALUES = 2 * 2 * 6 * 6
DECODER = 2 * (4 * 7 * 6 + 2 * 7 * 6 + 2 * 7 * 3)
OUTPUT = 7 * 11

SMALL = Shape(24, 40, 2, 2, 3, 61)


def options() -> TranslationOptions:
    return resolve({}, open_model(None).limits()).options


class TestStages:
    def test_weights(self) -> None:
        found = stages.weights(SPEC)
        assert found.encoder == ENCODER + CROSS_KEYS_AND_VALUES
        assert (found.decoder, found.output) == (DECODER, OUTPUT)
        assert found.size_bytes("int8") == found.encoder + DECODER + OUTPUT

    @pytest.mark.parametrize(
        ("compute_type", "size"), [("float32", 4), ("bfloat16", 2), ("int8", 1), ("int4", 0.5625)]
    )
    def test_work(self, compute_type: str, size: float) -> None:
        found = stages.work(SPEC, compute_type, PROFILE)
        encoder = ENCODER + CROSS_KEYS_AND_VALUES
        assert found["encoder"] == stages.Work(2 * 20 * encoder, 2 * encoder * size, compute_type)
        assert found["decoder"] == stages.Work(2 * 40 * DECODER, 16 * DECODER * size, compute_type)
        assert found["output"] == stages.Work(2 * 40 * OUTPUT, 16 * OUTPUT * size, compute_type)
        # Two multiplications and two additions for every pair and number of a head.
        assert found["attention"] == stages.Work(
            4 * (200 * 8 + 2 * (100 + 300) * 6), 2 * 4 * 2 * (100 + 150) * 6, "float32"
        )

    def test_shares_and_rest(self) -> None:
        found = stages.analyse(SPEC, "float32", MACHINE, PROFILE, 1.0)
        assert [stage.name for stage in found] == [*stages.MEASURED, stages.REST]
        assert [stage.seconds for stage in found] == pytest.approx([0.1, 0.4, 0.1, 0.2, 0.05, 0.15])
        assert sum(stage.share for stage in found) == pytest.approx(1)
        assert found[-1].reached is None
        total = stages.whole(found, "float32")
        assert total.seconds == pytest.approx(1)
        assert total.floor_seconds == sum(stage.floor_seconds or 0 for stage in found)

    def test_clocks_may_disagree_a_little(self) -> None:
        found = stages.analyse(SPEC, "float32", MACHINE, PROFILE, 0.84)
        assert found[-1].seconds == pytest.approx(0)
        assert sum(stage.share for stage in found) == pytest.approx(1)

    def test_floor_is_the_higher_one(self) -> None:
        reading = stages.floor_seconds(stages.Work(10, 4e5, "float32"), MACHINE)
        assert reading == pytest.approx(4e5 / 2e5)
        for number_format, peak in (("float32", 1e6), ("int8", 4e6), ("int4", 4e6)):
            computing = stages.floor_seconds(stages.Work(8e6, 10, number_format), MACHINE)
            assert computing == pytest.approx(8e6 / peak)

    def test_rates(self) -> None:
        stage = stages.Stage("output", 2.0, 0.5, stages.Work(6e9, 3e9, "int8"), 1.0)
        assert (stage.gops, stage.gbps, stage.operations_per_byte, stage.reached) == (
            3,
            1.5,
            2,
            0.5,
        )


class Echo:
    """An engine that gives back what it gets, or fails, and notes that it was asked."""

    compute_type = "float32"

    def __init__(self, name: str, asked: list[str], fails: bool = False) -> None:
        self._name = name
        self._asked = asked
        self._fails = fails

    def translate(self, batch: Batch, options: TranslationOptions) -> list[list[str]]:
        self._asked.append(self._name)
        if self._fails:
            raise RuntimeError("no more")
        return [list(tokens) for tokens in batch]


class TestMeasure:
    WORKLOAD = Workload([["a"], ["b", "c"], []], 1, 2, options())

    def test_engines_run_in_turn(self) -> None:
        asked: list[str] = []
        started: list[int] = []
        engines = {"ours": Echo("ours", asked), "theirs": Echo("theirs", asked)}
        timings, errors = measure.time_in_turn(
            engines, self.WORKLOAD, lambda: started.append(len(asked)), lambda _: None
        )
        assert not errors
        [warm_up] = started
        assert warm_up == 4
        ours, theirs = ["ours"] * 3, ["theirs"] * 3
        assert asked[warm_up:] == [*ours, *theirs, *theirs, *ours]
        found = timings["ours"]
        assert found.tokens == [[1, 2, 0]] * 2
        assert (len(found.call_seconds), len(found.token_seconds)) == (6, 4)
        assert found.total_tokens == 6
        assert measure.same_outputs(found, timings["theirs"]) == 3

    def test_a_peer_may_fail(self) -> None:
        asked: list[str] = []
        engines = {"ours": Echo("ours", asked), "theirs": Echo("theirs", asked, fails=True)}
        timings, errors = measure.time_in_turn(engines, self.WORKLOAD, lambda: None, lambda _: None)
        assert list(timings) == ["ours"]
        assert str(errors["theirs"]) == "no more"
        engines = {"ours": Echo("ours", asked, fails=True)}
        with pytest.raises(RuntimeError, match="no more"):
            measure.time_in_turn(engines, self.WORKLOAD, lambda: None, lambda _: None)

    def test_times_as_fast(self) -> None:
        ours = Timings([[1.0], [2.0], [1.0]], [[10], [10], [10]], [])
        theirs = Timings([[2.0, 2.0], [3.0, 3.0], [3.0, 5.0]], [[10, 10]] * 3, [])
        assert ours.tokens_per_second == 10
        assert theirs.round_token_seconds == [0.2, 0.3, 0.4]
        ratio = measure.times_as_fast(ours, theirs)
        assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.75, 2, 3))

    def test_percentiles(self) -> None:
        found = measure.percentiles([float(i) for i in range(101)])
        assert (found.p50, found.p90, found.p99) == (50, 90, 99)


class TestWorkload:
    def test_batches_are_whole(self) -> None:
        workload = Workload([["a"], ["b"], ["c"]], 2, 1, options())
        assert workload.batches == [[["a"], ["b"]], [["c"], ["a"]]]

    def test_lines(self, tmp_path: Path) -> None:
        content = b"Eins.\n\n  Zwei. \nDrei.\n"
        plain, zipped = tmp_path / "a.txt", tmp_path / "a.txt.gz"
        plain.write_bytes(content)
        zipped.write_bytes(gzip.compress(content))
        for path in (plain, zipped):
            assert read_lines(path) == ["Eins.", "Zwei.", "Drei."]
            assert read_lines(path, 2) == ["Eins.", "Zwei."]

    @pytest.mark.parametrize(("name", "fault"), [("a.txt", "UTF-8"), ("a.gz", "gzip")])
    def test_what_is_no_text(self, tmp_path: Path, name: str, fault: str) -> None:
        path = tmp_path / name
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(OptionError, match=fault):
            read_lines(path)


def prepare_to_fail() -> Opener:
    raise OptionError("nothing to open\nhere")


def prepare_to_vanish() -> Opener:
    os._exit(7)


class TestFootprint:
    def test_failures_are_told(self) -> None:
        with pytest.raises(footprint.FootprintError, match=r"^nothing to open$"):
            footprint.measure(prepare_to_fail, [], options())
        with pytest.raises(footprint.FootprintError, match="exit code 7"):
            footprint.measure(prepare_to_vanish, [], options())


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("random")
    write_checkpoint(SMALL, path)
    return path


class TestRandomCheckpoint:
    def test_decodes_the_forced_length(self, directory: Path) -> None:
        translator = pytransformer.Translator(directory, intra_threads=1)
        sentences = random_sentences([3, 7, 1], SMALL.vocab_size)
        assert [len(sentence) for sentence in sentences] == [3, 7, 1]
        results = translator.translate_batch(
            sentences, min_decoding_length=9, max_decoding_length=9, beam_size=2
        )
        assert [len(result.hypotheses[0]) for result in results] == [9] * 3

    def test_is_the_same_for_the_same_seed(self, directory: Path, tmp_path: Path) -> None:
        write_checkpoint(SMALL, tmp_path)
        for file in directory.iterdir():
            assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name

    def test_transformers_gives_the_same_logits(self, directory: Path) -> None:
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        model, loading = transformers.MarianMTModel.from_pretrained(
            directory, output_loading_info=True
        )
        assert not any(loading.values())
        source, target = [5, 9, 20, 0], [60, 4, 7]
        with torch.inference_mode():
            expected = model(
                input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])
            ).logits[0]
        engine = pytransformer.Translator(directory, intra_threads=1)._engine
        np.testing.assert_allclose(engine.logits(source, target), expected.numpy(), atol=1e-5)


def test_rounded_weights_are_not_handed_on(tmp_path: Path) -> None:
    """A native file in another number format has lost what other engines would compute with."""
    metadata = {"config": json.dumps({"family": "marian"})}
    entry = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}
    header = json.dumps({"__metadata__": metadata, "x": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UnsupportedModelError, match="BF16"):
        write_directory(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
