"""Runs one engine in its own process, and its own version of Python.

    python peer_server.py NAME SETTINGS        (settings as JSON, see peers/engine.py)

Opens the engine, prints a line {"version": ...}, and then answers each request, a JSON line on
standard input, with a line {"seconds": ..., "outputs": [tokens of each sentence]}. Only the
engine's own call is timed. `compare_engines.py` starts it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from peers.engine import Engine, Request, Settings


def main() -> None:
    # Engines may print: what they say goes to the error stream.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    for key in ("checkpoint", "models"):
        settings[key] = Path(settings[key])
    engine = importlib.import_module(f"peers.{name}").open_engine(Settings(**settings))
    print(json.dumps({"version": engine.version}), file=answers, flush=True)
    for line in sys.stdin:
        answer = serve(engine, Request(**json.loads(line)))
        print(json.dumps(answer), file=answers, flush=True)


def serve(engine: Engine[Any], request: Request) -> dict[str, object]:
    job = engine.prepare(request)
    start = time.perf_counter()
    raw = job()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "outputs": engine.outputs(raw)}


if __name__ == "__main__":
    main()
