"""How long a native model takes to open from a warm page cache, and how much of it is private.

python bench/open_model.py            # a random model of opus-mt's shape, about 300 MB
python bench/open_model.py MODEL      # any native file
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

import pytransformer
from pytransformer.benchmark.random_checkpoint import SHAPES, write_checkpoint
from pytransformer.cli import main as pytransformer_main

ROUNDS = 11


def mapped_kilobytes(path: Path) -> dict[str, int]:
    """What /proc/self/smaps says of the mapping of `path`: Size, Rss, Private_Dirty, …"""
    totals: dict[str, int] = {}
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path.resolve()))
        elif inside and line.endswith(" kB"):
            name, value = line[:-3].split(":")
            totals[name] = totals.get(name, 0) + int(value)
    return totals


def measure(path: Path) -> None:
    with path.open("rb") as file:  # warms the page cache
        while file.read(1 << 24):
            pass
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        translator = pytransformer.Translator(path)
        times.append(1000 * (time.perf_counter() - start))
    translator.translate_batch([["▁1", "▁2"]], max_decoding_length=4)
    kilobytes = mapped_kilobytes(path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
    print(f"open: median {statistics.median(times[1:]):.1f} ms, first {times[0]:.1f} ms")
    print(
        f"mapped {kilobytes['Size'] / 1e3:.0f} MB, resident {kilobytes['Rss'] / 1e3:.0f} MB, "
        f"private and dirty {kilobytes['Private_Dirty'] / 1e3:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path, nargs="?", help="a native model file")
    model = parser.parse_args().model
    if model is not None:
        measure(model)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_checkpoint(SHAPES["base"], root / "huggingface")
        native = root / "model.safetensors"
        if pytransformer_main(["convert", str(root / "huggingface"), str(native)]) != 0:
            raise SystemExit("the conversion failed")
        measure(native)


if __name__ == "__main__":
    main()
