"""Processes that use the engine, and look at what it does to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What each script begins with. NumPy's arithmetic library starts threads when it is imported.
PREPARED = """
import ctypes, gc, hashlib, locale, os, platform, re, signal, sys, threading, time
import numpy
C = ctypes.CDLL(None)
IS_X86 = platform.machine() in ("x86_64", "AMD64")

def threads():
    return set(os.listdir("/proc/self/task"))

at_first = threads()

def wait_for(count):
    # The system lists threads a little longer than they run.
    until = time.monotonic() + 60
    while len(threads()) != count and time.monotonic() < until:
        time.sleep(0.001)
    return len(threads()) == count

from pytransformer import MemoryLimitError, OptionError, Translator, _native, native
from random_models import (
    lively_checkpoint, make_engine, model_spec, random_checkpoint, run_search, search_options,
    sentences,
)

SOURCES = sentences(24, 61, 1, 60)
OPTIONS = search_options(60, beam_size=4)

def translate(engine):
    return run_search(engine, SOURCES, OPTIONS)
"""

# What a host has set: all that the engine could change, and a description of its threads.
STATE = """
def float_control():
    environment = ctypes.create_string_buffer(64)
    C.fegetenv(environment)
    words = numpy.frombuffer(environment.raw, numpy.uint32)
    # Without the flags of what has happened: Python raises some itself.
    return (words[0] & 0xFFFF, words[7] & 0xFFFFFFC0) if IS_X86 else (words[0],)

def status(names, task="self"):
    path = "/proc/self/status" if task == "self" else f"/proc/self/task/{task}/status"
    text = open(path).read()
    return [re.search(name + r":\\s+(\\S+)", text)[1] for name in names]

def c_environment():
    found, place = [], ctypes.POINTER(ctypes.c_char_p).in_dll(C, "environ")
    while place[len(found)]:
        found.append(place[len(found)])
    return found

def state():
    C.setlocale.restype = ctypes.c_char_p
    return [
        status(["SigBlk", "SigIgn", "SigCgt", "Cpus_allowed"]), float_control(), os.getcwd(),
        C.setlocale(locale.LC_ALL, None), c_environment(), sorted(os.listdir("/proc/self/fd")),
        status(["Umask", "NoNewPrivs"]),
    ]
"""


def run_script(code: str, folder: Path, *arguments: str, **environment: str) -> str:
    """What the code prints; it must not fail. The limit of time only ends a run that hangs."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", PREPARED + code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout
