"""A translator as a value: pickled, copied, and used by threads and processes."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from checkpoints import MarianCheckpoint, copy_of, make_marian
from pytransformer import CheckpointError, Translator, loaders, native
from pytransformer.pipelines import pipeline

TEXTS = ["Das Haus ist alt.", "Zwei Leute.", "Ein Kind spielt mit dem Ball.", ""] * 3
SETTINGS = [
    {"inter_threads": 1, "intra_threads": 1},
    {"inter_threads": 1, "intra_threads": 2},
    {"inter_threads": 2, "intra_threads": 1},
]
START_METHODS = ["fork", "spawn", "forkserver"]

# The beginning of the scripts below, which are files of their own: a process that is spawned
# imports what its parent was started from.
PREPARED = """
import multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pytransformer import Translator

TEXTS = {texts!r}


def translate_with(translator, text):
    return translator.translate(text, beam_size=3)


def keep(translator):
    global kept
    kept = translator


def translate_with_kept(text):
    return translate_with(kept, text)


def report(translator, results):
    results.put([translate_with(translator, text) for text in TEXTS])


def main(path):
    translator = Translator(path, **{settings!r})
    expected = translator.translate(TEXTS)
    with_beams = [translate_with(translator, text) for text in TEXTS]
{body}

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.fixture(scope="module")
def translator(marian: MarianCheckpoint) -> Translator:
    return Translator(marian.path)


def run_script(
    body: str, model: Path, folder: Path, settings: dict[str, int]
) -> subprocess.CompletedProcess[str]:
    """Runs `body` behind the common beginning. The limit of time only ends a run that hangs."""
    script = folder / "script.py"
    body = textwrap.indent(body, "    ")
    script.write_text(PREPARED.format(texts=TEXTS, settings=settings, body=body), encoding="utf-8")
    # Where a clone is the current folder, its source would hide the installed package.
    return subprocess.run(
        [sys.executable, str(script), str(model)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def check_script(body: str, model: Path, folder: Path, settings: dict[str, int]) -> None:
    """Runs `body`, which prints True once or more, and nothing else."""
    result = run_script(body, model, folder, settings)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) == {"True"}, result.stderr


class TestPickle:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_comes_back_as_it_was(self, translator: Translator, protocol: int) -> None:
        pickled = pickle.dumps(translator, protocol)
        assert len(pickled) < 10_000  # the path, not the weights
        found = pickle.loads(pickled)
        assert type(found) is Translator
        assert repr(found) == repr(translator)
        assert found.translate(TEXTS) == translator.translate(TEXTS)

    @pytest.mark.parametrize("compute_type", ["default", "auto", "bfloat16", "int8", "int4"])
    @pytest.mark.parametrize("stored", [None, "int8"])
    def test_settings_stay(
        self, marian: MarianCheckpoint, tmp_path: Path, stored: str | None, compute_type: str
    ) -> None:
        path = marian.path
        if stored is not None:
            path = tmp_path / "model.safetensors"
            native.write(loaders.load(marian.path), path, stored)
        translator = Translator(path, compute_type=compute_type, inter_threads=2, intra_threads=3)
        found = pickle.loads(pickle.dumps(translator))
        assert repr(found) == repr(translator)
        assert found.translate(TEXTS) == translator.translate(TEXTS)

    def test_bundled_model(self) -> None:
        translator = Translator()
        found = pickle.loads(pickle.dumps(translator))
        text = "Ein Hund läuft durch den Schnee."
        assert found.translate(text) == translator.translate(text)

    def test_relative_path_means_the_same_elsewhere(
        self, marian: MarianCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(marian.path.parent)
        translator = Translator(marian.path.name)
        pickled = pickle.dumps(translator)
        monkeypatch.chdir(tmp_path)
        for found in (pickle.loads(pickled), pickle.loads(pickle.dumps(translator))):
            assert found.translate(TEXTS) == translator.translate(TEXTS)

    def test_bound_methods_and_what_holds_it(self, translator: Translator) -> None:
        method, kept = pickle.loads(pickle.dumps((translator.translate, {"de": translator})))
        assert method(TEXTS) == kept["de"].translate(TEXTS) == translator.translate(TEXTS)
        assert method.__self__ is kept["de"]
        pipe = pipeline("translation", translator, num_beams=2)
        assert pickle.loads(pickle.dumps(pipe))(TEXTS) == pipe(TEXTS)

    def test_missing_model(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        path = copy_of(marian, tmp_path / "model")
        translator = Translator(path)
        pickled = pickle.dumps(translator)
        path.rename(tmp_path / "moved")
        with pytest.raises(FileNotFoundError, match=r"/model\b"):
            pickle.loads(pickled)
        assert translator.translate(TEXTS[0])

    @pytest.mark.parametrize("content", [b"", b"no model"])
    def test_damaged_model(self, marian: MarianCheckpoint, tmp_path: Path, content: bytes) -> None:
        path = copy_of(marian, tmp_path / "model")
        pickled = pickle.dumps(Translator(path))
        (path / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            pickle.loads(pickled)

    def test_changed_model_is_the_new_one(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        path = copy_of(marian, tmp_path / "model")
        pickled = pickle.dumps(Translator(path))
        make_marian(path, seed=1)
        found = pickle.loads(pickled).translate(TEXTS)
        assert found == Translator(path).translate(TEXTS)
        assert found != Translator(marian.path).translate(TEXTS)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_outlive_what_they_are_copies_of(
    marian: MarianCheckpoint, duplicate: Callable[[Any], Any]
) -> None:
    translator = Translator(marian.path, compute_type="int8", inter_threads=2, intra_threads=1)
    expected = translator.translate(TEXTS)
    found = duplicate(translator)
    held = duplicate([translator, translator])
    assert held[0] is held[1]
    assert repr(found) == repr(translator)
    del translator
    assert found.translate(TEXTS) == held[0].translate(TEXTS) == expected


@pytest.mark.parametrize("settings", SETTINGS)
def test_pool_of_threads(marian: MarianCheckpoint, settings: dict[str, int]) -> None:
    translator = Translator(marian.path, **settings)
    expected = [translator.translate(text, beam_size=3) for text in TEXTS]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda text: translator.translate(text, beam_size=3), TEXTS * 4)
        copies = pool.map(copy.deepcopy, [translator] * 8)
        assert list(found) == expected * 4
        methods = [made.translate for made in copies]
        assert [method(TEXTS[0], beam_size=3) for method in methods] == expected[:1] * 8


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: "x".join(map(str, one.values())))
@pytest.mark.parametrize("method", START_METHODS)
class TestProcesses:
    """The parent has translated before its children start."""

    def test_multiprocessing(
        self, marian: MarianCheckpoint, tmp_path: Path, method: str, settings: dict[str, int]
    ) -> None:
        body = f"""
context = multiprocessing.get_context({method!r})
with context.Pool(2) as pool:
    print(pool.map(translator.translate, TEXTS) == expected)
    print(pool.starmap(translate_with, [(translator, text) for text in TEXTS]) == with_beams)
with context.Pool(2, initializer=keep, initargs=(translator,)) as pool:
    print(pool.map(translate_with_kept, TEXTS) == with_beams)
results = context.Queue()
child = context.Process(target=report, args=(translator, results))
child.start()
print(results.get(timeout=120) == with_beams)
child.join()
print(child.exitcode == 0 and translator.translate(TEXTS) == expected)
"""
        check_script(body, marian.path, tmp_path, settings)

    def test_concurrent_futures(
        self, marian: MarianCheckpoint, tmp_path: Path, method: str, settings: dict[str, int]
    ) -> None:
        body = f"""
context = multiprocessing.get_context({method!r})
with ProcessPoolExecutor(2, mp_context=context) as pool:
    print(list(pool.map(translator.translate, TEXTS)) == expected)
    jobs = [pool.submit(translate_with, translator, text) for text in TEXTS]
    print([job.result() for job in jobs] == with_beams)
    print(translator.translate(TEXTS) == expected)
"""
        check_script(body, marian.path, tmp_path, settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: "x".join(map(str, one.values())))
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestForkAmongThreads:
    """Children that are forked while another thread is within a translation."""

    BUSY = """
stop = threading.Event()
def go_on():
    while not stop.is_set():
        translator.translate(TEXTS * 50, beam_size=3)
other = threading.Thread(target=go_on, daemon=True)  # a failure below ends it
other.start()
"""

    def test_children(
        self, marian: MarianCheckpoint, tmp_path: Path, settings: dict[str, int]
    ) -> None:
        body = """
for _ in range(5):
    child = os.fork()
    if child == 0:
        same = translator.translate(TEXTS) == expected
        os._exit(0 if same else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
stop.set()
other.join()
print(translator.translate(TEXTS) == expected)
"""
        check_script(self.BUSY + body, marian.path, tmp_path, settings)

    def test_pools(
        self, marian: MarianCheckpoint, tmp_path: Path, settings: dict[str, int]
    ) -> None:
        body = """
context = multiprocessing.get_context("fork")
with context.Pool(2, initializer=keep, initargs=(translator,)) as pool:
    print(pool.map(translate_with_kept, TEXTS) == with_beams)
    print(pool.map(translator.translate, TEXTS) == expected)
stop.set()
other.join()
with ThreadPoolExecutor(2) as threads, context.Pool(2) as pool:
    here = threads.map(translator.translate, TEXTS)
    print(pool.map(translator.translate, TEXTS) == list(here) == expected)
"""
        check_script(self.BUSY + body, marian.path, tmp_path, settings)
