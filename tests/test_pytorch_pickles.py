"""Pickles in PyTorch's files: what they may hold, and what hostile ones try."""

from __future__ import annotations

import argparse
import builtins
import importlib
import os
import pickle
import struct
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytorch_archives import archive
from pytransformer.errors import CheckpointError
from pytransformer.loaders import pytorch_container
from pytransformer.loaders.pickle_machine import Record, as_given, filled_later, record_of
from pytransformer.loaders.pytorch_file import PytorchFile, PytorchObject, StateDict


class Call:
    """Pickles to a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch {}", r"(posix|nt)\.system"),
        (builtins.eval, "open({!r}, 'w')", r"builtin.*\.eval"),
        (builtins.exec, "open({!r}, 'w')", r"builtin.*\.exec"),
        (builtins.__import__, "antigravity", r"builtin.*\.__import__"),
        (importlib.import_module, "antigravity", r"importlib\.import_module"),
        (torch.load, "{}", r"torch\.serialization\.load"),
    ],
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_that_calls_something(
    tmp_path: Path, function: Callable[..., Any], argument: str, name: str, protocol: int
) -> None:
    witness = tmp_path / "witness"
    call = Call(function, argument.format(str(witness)))
    path = archive(tmp_path, pickle.dumps({"a": call}, protocol))
    # PyTorch writes protocol 2. Others have opcodes that the reader does not know at all.
    with pytest.raises(CheckpointError, match=name if protocol == 2 else f"{name}|opcode"):
        PytorchFile(path)
    assert not witness.exists()
    assert "antigravity" not in sys.modules


def test_the_calls_above_would_have_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    pickle.loads(pickle.dumps(Call(builtins.eval, f"open({str(witness)!r}, 'w')"), 2))
    assert witness.exists()


def test_saved_object_of_a_class(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Linear(2, 2)}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        PytorchFile(tmp_path / "x.bin")


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\xff}.",
        b"}}.",
        b"(.",
        b"t.",
        b"R.",
        b"Q.",
        b"b.",
        b"s.",
        b"(u.",
        b"a.",
        b"e.",
        b"h\x00.",
        b"}r\xff\xff\xff\xff0.",
        b"X\xff\xff\xff\xffabc.",
        b"X\x01\x00\x00\x00\xff.",
        b"\x8a\xff\x01.",
        b"ccollections",
        b"ccollections\nOrderedDict\n.",
        b"ccollections\nOrderedDict\n(K\x01K\x02tR.",
        b"ctorch\nFloatStorage\n)R.",
        b"}}K\x01s.",
        b"}()}s.",
        b"]K\x01a.",
        b"}K\x01K\x02s.",
        b"}X\x01\x00\x00\x00aK\x02s.",
        b"(" * 100_000,
        # Nested tuples that share their parts: 2 ** 60 hashes if one became a key.
        b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
    ],
)
def test_malformed_pickle(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"x\.bin"):
        PytorchFile(archive(tmp_path, program))


def test_huge_memo_index_needs_no_memory(tmp_path: Path) -> None:
    program = b"\x80\x02}r\xff\xff\xff\xff."
    assert PytorchFile(archive(tmp_path, program)).shapes == {}


def test_huge_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch_container, "MAX_PICKLE_BYTES", 1000)
    with pytest.raises(CheckpointError, match="a pickle of 1001 bytes is no checkpoint"):
        PytorchFile(archive(tmp_path, bytes(1001)))


def test_state_dict_within_an_object(tmp_path: Path) -> None:
    """A training checkpoint: options, counters, texts, and tensors here and there."""
    options = argparse.Namespace(heads=8, names=["a", "b"], rate=0.5, seen={1, 2}, none=None)
    counts = Counter({"the": 7, "a": 9})
    vocabulary: Any = defaultdict(int, {"the": 0, "a": 1})
    state = {"w": torch.randn(2, 3), "b": torch.randn(3)}
    torch.save([options, counts, vocabulary, state, 2**63 - 1, (1, (2,))], tmp_path / "x.pt")
    table = {
        "argparse.Namespace": record_of("argparse.Namespace"),
        "collections.Counter": as_given,
        "collections.defaultdict": filled_later,
        "__builtin__.long": None,
        "__builtin__.set": as_given,
    }
    saved = PytorchObject(tmp_path / "x.pt", table)
    read, *others, tensors, big, numbers = saved.root
    assert isinstance(read, Record)
    assert read.name == "argparse.Namespace"
    assert read.attributes == {**vars(options), "seen": [1, 2]}
    assert others == [dict(counts), dict(vocabulary)]
    assert (big, numbers) == (2**63 - 1, (1, (2,)))
    source = StateDict(saved, tensors)
    np.testing.assert_array_equal(source.read("w"), state["w"].numpy())
    assert source.dtype("b") == "F32"


def test_lenient_reading_makes_records_of_everything(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    call = Call(os.system, f"touch {witness}")
    torch.save({"a": torch.nn.Linear(2, 2), "b": call}, tmp_path / "x.pt")
    root = PytorchObject(tmp_path / "x.pt", lenient=True).root
    assert isinstance(root["a"], Record)
    assert isinstance(root["b"], Record)
    assert root["a"].name == "torch.nn.modules.linear.Linear"
    assert root["b"].name.endswith(".system")
    assert not witness.exists()


NESTED = [
    b"]" * 300_000,  # many lists
    b"}" * 300_000,
    b"(" * 300_000,
    b")" + b"\x85" * 300_000,  # one tuple within another
    b"]" + b"]a" * 100_000,  # on one level
    b"]q\x00h\x00a" * 100_000,  # each a list that holds itself
    b"X\x00\x00\x10\x00"
    + b"a" * 2**20
    + b"q\x00"
    + b"ccodecs\nencode\nq\x01"
    + b"h\x01h\x00\x85R" * 9,
    b"c__builtin__\nset\nq\x00]q\x01(" + b"K\x01" * 100_000 + b"e" + b"h\x00h\x01\x85R" * 100_000,
    b"cargparse\nNamespace\nq\x00" + b"h\x00)\x81" * 100_000,
    b"K\x01" + b"".join(b"r" + struct.pack("<I", i) for i in range(200_000)),
]


@pytest.mark.parametrize("program", NESTED, ids=lambda program: repr(program[:12]))
def test_memory_stays_in_proportion(tmp_path: Path, program: bytes) -> None:
    path = archive(tmp_path, b"\x80\x02" + program)
    table = {"__builtin__.set": as_given, "argparse.Namespace": record_of("argparse.Namespace")}
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        PytorchObject(path, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(program)


def test_deeply_nested_object(tmp_path: Path) -> None:
    """Lists within lists: neither reading nor forgetting them may exhaust Python's stack."""
    depth = 100_000
    root = PytorchObject(
        archive(tmp_path, b"\x80\x02" + b"]q\x00" * depth + b"a" * (depth - 1) + b".")
    ).root
    assert len(root) == 1
    del root
