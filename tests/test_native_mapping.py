"""A native model is mapped and used where it lies: processes that open it share its pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytransformer
from checkpoints import MarianCheckpoint
from pytransformer import loaders, native

# Opens and uses a model, then prints how many kilobytes of its mapping this process alone holds
# dirty, and how many it shares with others; waits, so that two of them are alive at once.
_USE = """
import sys
from test_native_mapping import mapped_kilobytes
import pytransformer
translator = pytransformer.Translator(sys.argv[1])
translator.translate("Ein Hund.")
print("ready", flush=True)
sys.stdin.readline()
kilobytes = mapped_kilobytes(sys.argv[1])
print(kilobytes["Private_Dirty"], kilobytes["Shared_Clean"], kilobytes["Rss"], flush=True)
"""


def mapped_kilobytes(path: str) -> dict[str, int]:
    """What /proc/self/smaps says of this process's mapping of a file."""
    totals: dict[str, int] = {}
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(path)
        elif inside and line.endswith(" kB"):
            name, value = line[:-3].split(":")
            totals[name] = totals.get(name, 0) + int(value)
    return totals


@pytest.fixture
def native_model(marian: MarianCheckpoint, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    native.write(loaders.load(marian.path), path)
    return path


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_two_processes_share_the_pages(native_model: Path) -> None:
    command = [sys.executable, "-c", _USE, str(native_model)]
    processes = [
        subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        output, _ = process.communicate("go\n")
        private_dirty, shared, resident = map(int, output.split())
        assert private_dirty == 0
        assert resident > 0
        if process is processes[0]:  # the other one is still alive
            assert shared == resident


def test_the_file_may_go_while_the_model_is_in_use(native_model: Path) -> None:
    translator = pytransformer.Translator(native_model)
    expected = translator.translate("Ein Hund.")
    native_model.unlink()
    assert translator.translate("Ein Hund.") == expected
