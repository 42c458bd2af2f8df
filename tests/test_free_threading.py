"""The extension modules without a GIL, and where they let go of it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pytransformer import Translator
from pytransformer._ibm1 import Ibm1

WITHOUT_GIL = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
THREADS = 8
TEXTS = ["Ein Hund läuft durch den Schnee.", "Wie geht es dir?", "", "Das Mädchen isst ein Eis."]


def run_together(work: Callable[[int], None]) -> None:
    """Runs work(i) in a thread each, let go at the same moment; raises what one of them does."""
    start = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        start.wait()
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.skipif(not WITHOUT_GIL, reason="this interpreter has a GIL")
@pytest.mark.parametrize("module", ["_native", "_ibm1", "_embed"])
def test_no_module_brings_the_gil_back(tmp_path: Path, module: str) -> None:
    code = f"import sys, pytransformer.{module}; print(sys._is_gil_enabled())"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_threads_share_a_translator() -> None:
    translator = Translator(inter_threads=2, intra_threads=1)
    expected = translator.translate_n_best(TEXTS, num_hypotheses=2, beam_size=2)

    def work(index: int) -> None:
        for _ in range(5):
            if index % 2:
                found = translator.translate_n_best(TEXTS, num_hypotheses=2, beam_size=2)
                assert found == expected
            else:
                assert translator.translate_async(TEXTS[0]).result() == expected[0][0].text
                assert "".join(translator.translate_stream(TEXTS[1])) == expected[1][0].text

    run_together(work)


def test_threads_make_and_drop_translators() -> None:
    expected = Translator(intra_threads=1).translate(TEXTS)

    def work(index: int) -> None:
        for _ in range(3):
            assert Translator(intra_threads=1 + index % 2).translate(TEXTS) == expected

    run_together(work)


def test_threads_share_a_table_of_words() -> None:
    """It grows while others add to it, count with it and read it."""
    words, sentences, length = 3000, 400, 12
    rng = np.random.default_rng(0)
    offsets = np.arange(sentences + 1) * length
    source = rng.integers(0, words, (THREADS, sentences * length), dtype=np.int32)
    target = rng.integers(0, words, (THREADS, sentences * length), dtype=np.int32)
    alone = Ibm1(words, words)
    for s, t in zip(source, target, strict=True):
        alone.add_pairs(s, offsets, t, offsets)
    shared = Ibm1(words, words)

    def work(index: int) -> None:
        for _ in range(3):
            shared.add_pairs(source[index], offsets, target[index], offsets)
            shared.expect(source[index], offsets, target[index], offsets)

    run_together(work)
    assert shared.num_pairs == alone.num_pairs
    for model in (alone, shared):
        model.add_pairs(source[0], offsets, target[0], offsets)  # estimation begins anew
        for s, t in zip(source, target, strict=True):
            model.expect(s, offsets, t, offsets)
        model.maximise()
    for found, expected in zip(shared.table(), alone.table(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
