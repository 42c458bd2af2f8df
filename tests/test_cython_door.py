"""`cimport pytransformer`: the example, and what a Cython application may rely on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

import pytransformer
from embedding import ROOT, lack, need, run
from example_lines import BEAM_SIZES, COMPUTE_TYPES, TARGET, by_python, real_lines, stored_as
from pytransformer.model_files import BUNDLED_MODEL

# What the example does not use of the door.
MORE = """
# cython: language_level=3
# distutils: language=c++
cimport pytransformer as pt
from libc.string cimport memcpy


def whole(str path, str text, str lang):
    '''A text, translated and streamed.'''
    cdef bytes name = path.encode(), line = text.encode(), to = lang.encode()
    cdef const char* c_name = name
    cdef pt.pytransformer_text view = pt.pytransformer_text(line, len(line))
    cdef pt.pytransformer_settings settings
    cdef pt.pytransformer_info info
    cdef pt.pytransformer_options options
    cdef pt.pytransformer_result* result
    cdef Pieces pieces
    pt.settings_init(&settings)
    settings.intra_threads = 1
    pt.options_init(&options)
    options.tgt_lang = to
    options.on_text = on_text
    options.context = &pieces
    pieces.length = 0
    with nogil:
        translator = pt.open(c_name, &settings)
        pt.get_info(translator, &info)
        result = pt.translate_texts(translator, &view, 1, &options)
    assert info.intra_threads == 1
    found = pt.result_text(result, 0).decode(), pieces.bytes[:pieces.length].decode()
    pt.result_free(result)
    pt.close(translator)
    return found


cdef struct Pieces:
    char[4096] bytes
    size_t length


cdef int on_text(void* context, size_t text, const char* piece, size_t length) noexcept nogil:
    cdef Pieces* pieces = <Pieces*>context
    if pieces.length + length > sizeof(pieces.bytes):
        return 1
    memcpy(&pieces.bytes[pieces.length], piece, length)
    pieces.length += length
    return 0


def languages(str path):
    cdef bytes name = path.encode()
    translator = pt.open(name, NULL)
    found = []
    while pt.target_language(translator, len(found)) != NULL:
        found.append(pt.target_language(translator, len(found)).decode())
    pt.close(translator)
    return found


def error_of(str path, int beam_size):
    '''An exception out of code without the GIL.'''
    cdef bytes name = path.encode()
    cdef const char* c_name = name
    cdef pt.pytransformer_options options
    cdef pt.pytransformer_translator* translator = NULL
    pt.options_init(&options)
    options.beam_size = beam_size
    try:
        with nogil:
            translator = pt.open(c_name, NULL)
            pt.translate_ids(translator, NULL, NULL, 0, &options)
    finally:
        pt.close(translator)
"""

SETUP = """
import pytransformer
from Cython.Build import cythonize
from setuptools import Extension, setup

door = Extension("more", ["more.pyx"], include_dirs=[pytransformer.get_include()])
setup(name="more", ext_modules=cythonize(door))
"""


def build(directory: Path, name: str) -> ModuleType:
    """Runs the setup.py of a folder, and imports the module that it makes."""
    need("c++")
    for package in ("Cython", "setuptools"):
        if importlib.util.find_spec(package) is None:
            lack(f"there is no {package}")
    # Where tests run with sanitizers, the compiler needs none.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=directory, env=environment)
    (path,) = directory.glob(f"{name}.*.so")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    directory = tmp_path_factory.mktemp("cython")
    shutil.copytree(ROOT / "examples" / "cython", directory, dirs_exist_ok=True)
    return build(directory, "lines")


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    directory = tmp_path_factory.mktemp("more")
    (directory / "more.pyx").write_text(MORE.lstrip())
    (directory / "setup.py").write_text(SETUP)
    return build(directory, "more")


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_example_gives_what_python_gives(
    example: ModuleType, tmp_path: Path, shared_data: Path, compute_type: str
) -> None:
    """A thousand lines from four threads: the texts, and every bit of the scores."""
    lines = real_lines(shared_data)
    path = stored_as(compute_type, tmp_path)
    translator = example.Translator(str(path))
    for beam_size in BEAM_SIZES:
        found = translator.translate(lines, tgt_lang=TARGET, beam_size=beam_size, threads=4)
        expected = by_python(compute_type, lines, beam_size)
        assert [(text, score.hex()) for text, score in found] == expected


def test_example_leaves_the_gil(example: ModuleType) -> None:
    """Another thread of Python runs while the engine works."""
    translator = example.Translator(str(BUNDLED_MODEL))
    lines = ["Ein Hund läuft durch den Schnee."] * 64
    done = threading.Event()
    turns = 0

    def translate() -> None:
        translator.translate(lines, tgt_lang=TARGET)
        done.set()

    switch = sys.getswitchinterval()
    # Whoever holds the GIL would keep it for ever.
    sys.setswitchinterval(1e6)
    try:
        thread = threading.Thread(target=translate)
        thread.start()
        while not done.wait(1e-3):
            turns += 1
        thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert turns > 0


def test_example_raises(example: ModuleType) -> None:
    with pytest.raises(pytransformer.OptionError, match="beam_size"):
        example.Translator(str(BUNDLED_MODEL)).translate(["Ein Hund"] * 99, beam_size=0)
    with pytest.raises(pytransformer.OptionError, match="xx"):
        example.Translator(str(BUNDLED_MODEL)).translate(["Ein Hund"], tgt_lang="xx")
    with pytest.raises(OSError, match="no-such-model"):
        example.Translator("no-such-model")


def test_texts(more: ModuleType) -> None:
    text = "Ein Hund läuft.\n\nWo ist der Bahnhof?"
    expected = pytransformer.Translator().translate(text, tgt_lang=TARGET)
    assert more.whole(str(BUNDLED_MODEL), text, TARGET) == (expected, expected)


def test_languages(more: ModuleType) -> None:
    translator = pytransformer.Translator()
    assert more.languages(str(BUNDLED_MODEL)) == list(translator.target_languages)


def test_errors_without_the_gil(more: ModuleType) -> None:
    with pytest.raises(OSError, match="no-such-model"):
        more.error_of("no-such-model", 1)
    with pytest.raises(pytransformer.OptionError, match="beam_size"):
        more.error_of(str(BUNDLED_MODEL), -3)
