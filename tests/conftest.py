"""Fixtures that several test files use."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from c_interface import CLibrary, CTranslator
    from checkpoints import MarianCheckpoint
    from embedding import Library

# A shell ignores Ctrl-C in what it runs in the background, and programs that tests start would
# inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of corpora that lie beside the repository; skips where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    data = Path(os.environ.get("PYTRANSFORMER_SHARED", beside)) / "data"
    if not data.is_dir():
        pytest.skip(f"no corpora at {data}; set PYTRANSFORMER_SHARED to a folder that holds data/")
    return data


@pytest.fixture(scope="session")
def marian(tmp_path_factory: pytest.TempPathFactory) -> MarianCheckpoint:
    """A small MarianMT checkpoint with odd widths; tests must not change it."""
    # Imported here, since it imports transformers, for which most tests need not wait.
    from checkpoints import make_marian

    return make_marian(tmp_path_factory.mktemp("marian"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library for C and C++, installed; skips where it cannot be built."""
    from embedding import find_or_build

    base = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    return find_or_build((base.parent if is_worker else base) / "library")


@pytest.fixture(scope="session")
def c_library(library: Library) -> CLibrary:
    """The same, loaded."""
    from c_interface import CLibrary

    return CLibrary(library.shared)


@pytest.fixture(scope="module")
def c_bundled(c_library: CLibrary) -> Iterator[CTranslator]:
    """The bundled model through C."""
    from bundled import bundled_model
    from c_interface import CTranslator

    with CTranslator(c_library, bundled_model(), intra_threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def c_image() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The native image of a small model, with 23 tokens and no tokenizer; must not be changed."""
    from pytransformer import native
    from random_models import lively_checkpoint

    return native.build_image(lively_checkpoint(2, 23))


@pytest.fixture(scope="module")
def c_small(
    c_library: CLibrary, c_image: np.ndarray[Any, np.dtype[np.uint8]]
) -> Iterator[CTranslator]:
    """That model through C."""
    from c_interface import CTranslator

    with CTranslator(c_library, c_image) as opened:
        yield opened
