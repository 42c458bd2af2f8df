"""The scripts of bench/ that need nothing but this package: they run, and their figures hold."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(tmp_path: Path, *arguments: str) -> str:
    """stdout of a script, run where the source folder does not hide the installed package."""
    script, *rest = arguments
    command = [sys.executable, str(ROOT / "bench" / script), *rest]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_engines_are_compared_in_turn(tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("ein Satz\nnoch ein etwas längerer Satz\n" * 4, encoding="utf-8")
    output = run(
        tmp_path, "compare_engines.py", "--corpus", str(corpus), "--shape", "tiny",
        "--compute-type", "int8", "--peers", "pytransformer:float32", "--length", "3",
        "--corpus-rounds", "2", "--pause", "0", "--json",
    )  # fmt: skip
    (result,) = json.loads(output)
    ours, peer = result["rows"]
    assert (ours["engine"], peer["engine"]) == ("pytransformer int8", "pytransformer float32")
    assert ours["seconds_per_token"] > 0
    low, high = peer["ratio_quartiles"]
    assert low <= peer["ratio"] <= high


def test_kernels_stand_beside_the_limits_of_the_machine(tmp_path: Path) -> None:
    output = run(
        tmp_path, "kernels.py", "--types", "int8,int4", "--shapes", "128x128", "--rounds", "1"
    )
    rows = [line.split() for line in output.splitlines() if line.split()[:2] == ["128", "128"]]
    assert len(rows) == 2 * 8
    assert all(float(speed) > 0 and share.endswith("%") for _, _, _, speed, share, *_ in rows)


def test_lists_of_tokens(tmp_path: Path) -> None:
    output = run(tmp_path, "shortlist.py", "--lists", "250", "8000", "--rounds", "3")
    rows = [[*map(float, line.split()[:3])] for line in output.splitlines() if line[:1] == " "]
    assert [tokens for tokens, *_ in rows] == [250, 8000, 32000] * 2
    assert all(step > 0 and output > 0 for _, step, output in rows)


def test_concurrent_calls_and_streams(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    output = run(
        tmp_path, "concurrent_calls.py", "--rounds", "2", "--beams", "1", "--json", str(rows)
    )
    assert "goal" in output
    together, *readers = json.loads(rows.read_text(encoding="utf-8"))
    assert together["ratio"] > 0
    assert [row["reader"] for row in readers] == ["tokens", "text", "text_async"]
    assert all(row["step"] > 0 for row in readers)
