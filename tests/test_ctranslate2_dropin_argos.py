"""Argos Translate on our engine; runs where argostranslate is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pytransformer import Translator
from pytransformer.ctranslate2.converters import MarianConverter

SENTENCES = ["Ein Mann läuft durch den Park.", "Zwei Hunde spielen im Schnee."]

# Its models that split texts into sentences must be downloaded, so a simple rule stands in.
PROGRAM = """
import re, sys
import pytransformer.ctranslate2
sys.modules["ctranslate2"] = pytransformer.ctranslate2
import argostranslate.package, argostranslate.sbd, argostranslate.translate
argostranslate.sbd.MiniSBDSentencizer.split_sentences = (
    lambda self, text: [part for part in re.split(r"(?<=[.!?]) +", text) if part]
)
argostranslate.package.install_from_path(sys.argv[1])
print(argostranslate.translate.translate(sys.argv[2], "de", "en"))
translation = argostranslate.translate.get_translation_from_codes("de", "en")
print(len(translation.hypotheses(sys.argv[2].split("\\n")[0], 4)))
"""


@pytest.fixture
def package(shared_data: Path, tmp_path: Path) -> Path:
    """A package of a model from German to English."""
    folder = shared_data.parent / "models" / "marian" / "transformer"
    if not folder.is_dir():
        pytest.skip(f"no model at {folder}")
    content = tmp_path / "translate-de_en-1_0"
    vocabulary = folder / "vocab.spm"
    converter = MarianConverter(str(folder / "model.npz"), [str(vocabulary)])
    converter.convert(str(content / "model"))
    (content / "sentencepiece.model").write_bytes(vocabulary.read_bytes())
    metadata = {
        "package_version": "1.0",
        "argos_version": "1.9",
        "from_code": "de",
        "from_name": "German",
        "to_code": "en",
        "to_name": "English",
    }
    (content / "metadata.json").write_text(json.dumps(metadata))
    package = tmp_path / "de_en.argosmodel"
    with zipfile.ZipFile(package, "w") as archive:
        for item in content.rglob("*"):
            archive.write(item, item.relative_to(tmp_path))
    return package


def test_argos_translate(package: Path, shared_data: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("argostranslate") is None:
        pytest.skip("argostranslate is not installed: pip install argostranslate")
    text = f"{' '.join(SENTENCES)}\n{SENTENCES[1]}"
    places = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("DATA", "CONFIG", "CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(package), text],
        env={**os.environ, **places, "ARGOS_COMPUTE_TYPE": "float32"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, hypotheses = done.stdout.splitlines()
    ours = Translator(shared_data.parent / "models" / "marian" / "transformer")
    first, second = (
        ours.translate(
            sentence, beam_size=4, length_penalty=0.2, early_stopping=True, beam_rule="generate"
        )
        for sentence in SENTENCES
    )
    assert lines == [f"{first} {second}", second]
    assert hypotheses == "4"
