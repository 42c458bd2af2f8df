"""`pytransformer bench`: that it counts rightly and shows it, never how fast anything is."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytransformer.benchmark import peers, session, stages
from pytransformer.benchmark.engines import Opener, PeerError, PeerModel, PrepareOurs
from pytransformer.benchmark.machine import FORMATS
from pytransformer.benchmark.random_checkpoint import Shape, write_checkpoint
from pytransformer.benchmark.report import as_json, text
from pytransformer.benchmark.workload import SENTENCES, read_lines
from pytransformer.cli import main
from pytransformer.errors import OptionError
from pytransformer.model_files import open_model

COUNT = 3
ROUNDS = 2


@dataclass(frozen=True)
class Run:
    """What the command gave."""

    table: str
    values: dict[str, Any]
    picture: Path


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = os.path.join(sysconfig.get_path("scripts"), "pytransformer")
    command = [program, "bench", "--rounds", str(ROUNDS), "--threads", "1", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Greedy, one sentence at a time."""
    folder = tmp_path_factory.mktemp("bench")
    outputs: list[str | Path] = ["--json", folder / "result.json"]
    if importlib.util.find_spec("matplotlib"):
        outputs += ["--plot", folder / "result.png"]
    result = run_command("--limit", str(COUNT), "--beam-size", "1", *outputs)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    values = json.loads((folder / "result.json").read_text())
    return Run(result.stdout, values, folder / "result.png")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of odd sizes."""
    path = tmp_path_factory.mktemp("random")
    write_checkpoint(Shape(24, 40, 2, 2, 3, 61), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where other engines keep their form of the bundled model."""
    return tmp_path_factory.mktemp("cache")


class TestJson:
    def test_keys(self, bundled: Run) -> None:
        assert set(bundled.values) == {
            "format", "machine", "model", "workload", "name", "version", "compute_type", "calls",
            "seconds", "target_tokens", "call_seconds", "token_seconds", "tokens_per_second",
            "load_seconds", "peak_memory_bytes", "private_memory_bytes", "stages", "counts",
            "peers",
        }  # fmt: skip
        assert list(bundled.values["stages"]) == [*stages.MEASURED, stages.REST, "all"]

    def test_percentiles_are_ordered(self, bundled: Run) -> None:
        for name in ("call_seconds", "token_seconds"):
            found = bundled.values[name]
            assert 0 < found["p50"] <= found["p90"] <= found["p99"]

    def test_counts_are_those_of_the_sentences(self, bundled: Run) -> None:
        tokenizer = open_model(None).tokenizer
        lengths = [len(tokenizer.encode_ids(line)) for line in read_lines(SENTENCES, COUNT)]
        values, counts = bundled.values, bundled.values["counts"]
        assert values["workload"]["source_tokens"] == sum(lengths) - COUNT  # without end tokens
        assert values["calls"] == counts["encoder_passes"] == COUNT * ROUNDS
        assert counts["encoder_rows"] == ROUNDS * sum(lengths)
        assert counts["encoder_attention_pairs"] == ROUNDS * sum(n * n for n in lengths)
        # Each sentence takes a step for every token, and one that finds its end.
        assert counts["steps"] == counts["step_rows"] == values["target_tokens"] + COUNT * ROUNDS
        assert counts["self_attention_keys"] >= counts["steps"]
        assert counts["cross_attention_keys"] == counts["cross_attention_sentences_keys"]

    def test_stages_add_up(self, bundled: Run) -> None:
        every = dict(bundled.values["stages"])
        total = every.pop("all")
        assert sum(stage["share"] for stage in every.values()) == pytest.approx(1)
        seconds = sum(stage["seconds"] for stage in every.values())
        assert total["seconds"] == pytest.approx(seconds)
        assert total["seconds"] >= bundled.values["seconds"] * (1 - 1e-9)
        for name in ("operations", "bytes", "floor_seconds"):
            parts = sum(stage[name] or 0 for stage in every.values())
            assert total[name] == pytest.approx(parts)
        assert all(stage["seconds"] >= 0 for stage in every.values())

    def test_machine_and_memory(self, bundled: Run) -> None:
        machine = bundled.values["machine"]
        assert list(machine["peak_gops"]) == list(FORMATS)
        assert min(machine["peak_gops"].values()) > 0
        assert min(machine["memory_gbps"], machine["weights_gbps"]) > 0
        assert bundled.values["load_seconds"] > 0
        if sys.platform == "linux":
            assert bundled.values["peak_memory_bytes"] > bundled.values["private_memory_bytes"] > 0

    def test_to_stdout(self, small: Path) -> None:
        result = run_command(small, "--limit", "2", "--length", "4", "--batch-size", "3",
                             "--json", "-")  # fmt: skip
        assert result.returncode == 0, result.stderr
        values = json.loads(result.stdout)
        # One whole batch of three from two sentences.
        assert values["calls"] == ROUNDS
        assert values["target_tokens"] == 3 * 4 * ROUNDS
        assert values["workload"]["forced_length"] == 4


def test_table_fits_a_terminal(bundled: Run) -> None:
    lines = bundled.table.splitlines()
    assert max(map(len, lines)) <= 100
    words = ("latency per sentence", "p99", "tokens/s", "load time", "memory", "reached", "encoder")
    assert all(word in bundled.table for word in words)


def test_picture(bundled: Run) -> None:
    pytest.importorskip("matplotlib")
    assert bundled.picture.read_bytes().startswith(b"\x89PNG\r\n")


def prepare_copy(model: PeerModel) -> Opener:
    """A peer that is pytransformer under another name."""
    return PrepareOurs(str(model.directory), "float32", model.threads)()


def prepare_nothing(model: PeerModel) -> Opener:
    raise PeerError(f"does not know {model.directory.name}\nat all")


class TestPeers:
    @pytest.fixture
    def registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peers, "_PEERS", dict(peers._PEERS))
        peers.register(peers.Peer("copy", (), prepare_copy))
        peers.register(peers.Peer("never", (), prepare_nothing))

    @pytest.mark.usefixtures("registered")
    def test_stand_beside_ours(self, small: Path) -> None:
        settings = session.Settings(
            model=str(small), threads=1, length=5, limit=2, rounds=2,
            peers=peers.find(["copy", "never", "copy"]),
        )  # fmt: skip
        result = session.run(settings)
        copied, failed = as_json(result)["peers"]
        assert (copied["name"], copied["error"]) == ("copy", None)
        assert copied["same_outputs"] == 2
        low, high = copied["ours_times_as_fast_quartiles"]
        assert 0 < low <= copied["ours_times_as_fast"] <= high
        assert failed == {"name": "never", "version": "", "error": failed["error"]}
        table = text(result)
        assert "never: cannot run this: does not know" in table
        assert max(map(len, table.splitlines())) <= 100

    def test_unknown(self) -> None:
        with pytest.raises(OptionError, match=r"'fairseq'.*ctranslate2, transformers"):
            peers.find(["transformers", "fairseq"])

    def test_not_installed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        peer = peers.Peer("ghost", ("ghost_of_a_package",), prepare_nothing)
        monkeypatch.setitem(peers._PEERS, "ghost", peer)
        assert main(["bench", "--compare", "ghost"]) == 2
        assert "pip install ghost_of_a_package" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["ctranslate2", "transformers"])
    @pytest.mark.parametrize("beam_size", [1, 2])
    @pytest.mark.parametrize("length", [None, 6])
    def test_translate_the_bundled_model_alike(
        self, name: str, beam_size: int, length: int | None, cache: Path
    ) -> None:
        """Among others, the start token's embedding, which is not zero, must not be lost."""
        pytest.importorskip(name)
        if name == "ctranslate2" and beam_size > 1 and length is None:
            pytest.skip("CTranslate2 ends a beam search of free length by another rule")
        settings = session.Settings(
            threads=1, limit=4, rounds=1, beam_size=beam_size, length=length, cache=cache,
            peers=peers.find([name]),
        )  # fmt: skip
        result = session.run(settings)
        ours, theirs = result.engines
        assert theirs.error is None
        assert ours.timings is not None
        assert theirs.timings is not None
        assert theirs.timings.outputs == ours.timings.outputs
        assert length is None or {len(tokens) for tokens in theirs.timings.outputs} == {length}


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["no/where"], ["no/where"]),
            (["--shape", "huge"], ["huge", "base32k"]),
            (["model", "--shape", "tiny"], ["MODEL", "--shape"]),
            (["--compare", "fairseq"], ["fairseq", "ctranslate2"]),
            (["--sentences", "no/where"], ["no/where"]),
            (["--sentences", os.devnull], ["no sentences"]),
            (["--json", "no/where/result.json"], ["no/where", "directory"]),
            (["--plot", "."], ["directory"]),
            (["--rounds", "0"], ["--rounds", "0", "integer"]),
            (["--beam-size", "99999"], ["beam_size", "99999"]),
            (["--compute-type", "int3"], ["int3"]),
        ],
    )
    def test_are_told_in_one_line(
        self, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        assert all(word in captured.err for word in words), captured.err

    def test_missing_matplotlib(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        assert main(["bench", "--plot", str(tmp_path / "result.png")]) == 2
        assert "needs matplotlib" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


def test_other_commands_do_not_wait_for_it(tmp_path: Path) -> None:
    code = "import sys, pytransformer.cli; print(*sys.modules)"
    # Elsewhere than in the source, which would hide the installed package.
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "pytransformer.cli.bench" in loaded
    assert "pytransformer.benchmark" not in loaded
