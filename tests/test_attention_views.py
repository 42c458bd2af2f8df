"""Attention as arrays, word alignments, pictures and on the command line."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import pytransformer
from attention_maps import SOURCE, TARGET, maps_of, random_maps
from pytransformer.attention import (
    AttentionMaps,
    plot_attention,
    plot_positions,
    sinusoidal_positions,
    write_page,
)
from pytransformer.cli import main
from pytransformer.errors import OptionError

GERMAN = "Ein Hund läuft durch den Schnee."
HOSTILE = ["</script><img src=x onerror=alert(1)>", "<!--<script>", "@DATA@", "$\\frac$", "\u2028"]


class TestMaps:
    def test_decoder_inputs_are_one_step_behind(self) -> None:
        assert random_maps().decoder_inputs == ["<pad>", *TARGET[:-1]]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"cross": np.zeros((3, 4, 6, 7), np.float32)}, ["cross", "[layers, heads, 6, 8]"]),
            ({"encoder": np.zeros((3, 8, 8), np.float32)}, ["encoder", "[3, 8, 8]"]),
            ({"decoder": np.zeros((3, 0, 6, 6), np.float32)}, ["decoder", "[3, 0, 6, 6]"]),
            ({"decoder": np.zeros((2, 4, 6, 6), np.float32)}, ["2 layers", "3"]),
            ({"cross": np.zeros((3, 4, 6, 8))}, ["cross", "float64", "float32"]),
            ({"target_tokens": []}, ["no tokens"]),
        ],
    )
    def test_wrong_arrays(self, changes: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(ValueError, match=".*".join(map(re.escape, words))):
            dataclasses.replace(random_maps(), **changes)

    def test_cross_mean(self) -> None:
        maps = random_maps()
        cross = maps.cross.astype(np.float64)
        np.testing.assert_allclose(maps.cross_mean(), cross[2].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(maps.cross_mean(0, [1, -1]), cross[0][[1, 3]].mean(0), rtol=1e-6)
        np.testing.assert_allclose(maps.cross_mean(None), cross.mean(axis=(0, 1)), rtol=1e-6)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [((3,), "layer 3"), ((-4,), "layer -4"), ((0, [4]), "head 4"), ((0, []), "no head")],
    )
    def test_unknown_layers_and_heads(self, arguments: tuple[Any, ...], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            random_maps().cross_mean(*arguments)

    def test_unknown_kind(self) -> None:
        with pytest.raises(OptionError, match="expected one of cross, encoder, decoder"):
            random_maps().view("sideways")  # type: ignore[arg-type]


class TestAlignment:
    CROSS = np.array(
        [  # >>en<<  ▁Ein  ▁Hund  ▁im  ▁Sch  nee  .  </s>
            [0.0, 0.6, 0.3, 0.0, 0.0, 0.0, 0.0, 0.1],
            [0.0, 0.1, 0.7, 0.0, 0.0, 0.0, 0.0, 0.2],
            # The largest single weight is that of ▁im, the largest word is Schnee.
            [0.0, 0.0, 0.0, 0.3, 0.2, 0.2, 0.2, 0.1],
            [0.0, 0.0, 0.1, 0.0, 0.4, 0.4, 0.0, 0.1],
            # The end token is no word of the text.
            [0.0, 0.0, 0.0, 0.2, 0.0, 0.1, 0.0, 0.7],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )

    def test_hard(self) -> None:
        found = maps_of(SOURCE, TARGET, self.CROSS).word_alignment()
        assert found.source_words == ["Ein", "Hund", "im", "Schnee."]
        assert found.target_words == ["A", "dog", "in", "snow."]
        assert found.links == [(0, 0), (1, 1), (3, 2), (3, 3)]
        assert found.to_pharaoh() == "0-0 1-1 3-2 3-3"
        # "snow." is two pieces: the mean of what they look at.
        np.testing.assert_allclose(found.weights[3], [0, 0.05, 0.1, 0.45], atol=1e-6)

    def test_threshold_gives_none_or_several(self) -> None:
        maps = maps_of(SOURCE, TARGET, self.CROSS)
        assert maps.word_alignment(threshold=0.29).links == [
            (0, 0),
            (1, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (3, 3),
        ]
        assert maps.word_alignment(threshold=1).links == []
        for threshold in (-0.1, 1.1, float("nan")):
            with pytest.raises(OptionError, match="from 0 to 1"):
                maps.word_alignment(threshold=threshold)

    def test_first_piece_needs_no_mark_and_the_end_may_be_missing(self) -> None:
        maps = maps_of(["x", "y", "▁z", "</s>"], ["a", "▁", "b"], np.full((3, 4), 0.25))
        found = maps.word_alignment()
        assert (found.source_words, found.target_words) == (["xy", "z"], ["a", "b"])
        np.testing.assert_allclose(found.weights, [[0.5, 0.25], [0.5, 0.25]])

    @pytest.mark.parametrize(
        ("source", "target"), [(["</s>"], ["▁a", "</s>"]), (["▁a", "</s>"], ["</s>"])]
    )
    def test_without_words(self, source: list[str], target: list[str]) -> None:
        maps = maps_of(source, target, np.ones((len(target), len(source))))
        for threshold in (None, 0.5):
            assert maps.word_alignment(threshold=threshold).to_pharaoh() == ""


class TestPositions:
    def test_is_that_of_the_paper(self) -> None:
        table = sinusoidal_positions(50, 6)
        assert table.dtype == np.float32
        for position, dimension in ((0, 0), (1, 0), (7, 2), (49, 5)):
            angle = position / 10000 ** (dimension // 2 * 2 / 6)
            value = np.cos(angle) if dimension % 2 else np.sin(angle)
            assert table[position, dimension] == pytest.approx(value, abs=1e-6)

    @pytest.mark.parametrize(("length", "d_model"), [(0, 2), (3, 0), (3, 5), (3, -2)])
    def test_impossible_sizes(self, length: int, d_model: int) -> None:
        with pytest.raises(OptionError, match="expected a positive"):
            sinusoidal_positions(length, d_model)


def pixels(path: Path) -> npt.NDArray[np.float32]:
    image = pytest.importorskip("matplotlib.image")
    read: npt.NDArray[np.float32] = image.imread(path)
    return read


def all_differ(paths: list[Path]) -> bool:
    contents = [path.read_bytes() for path in paths]
    return len(set(contents)) == len(contents)


class TestPictures:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_show_what_is_asked_for(self, tmp_path: Path) -> None:
        maps = random_maps()
        views: dict[str, dict[str, Any]] = {
            "all": {},
            "encoder": {"kind": "encoder"},
            "decoder": {"kind": "decoder"},
            "layer": {"layers": [-1]},
            "other_layer": {"layers": [0]},
            "heads": {"layers": [0], "heads": [1, 3]},
        }
        for name, view in views.items():
            plot_attention(maps, tmp_path / f"{name}.png", **view)
        plot_attention(random_maps(seed=2), tmp_path / "others.png")
        assert all_differ(list(tmp_path.iterdir()))
        assert pixels(tmp_path / "all.png").size > pixels(tmp_path / "layer.png").size

    def test_same_input_gives_the_same_picture(self, tmp_path: Path) -> None:
        for name in ("one.png", "two.png"):
            plot_attention(random_maps(), tmp_path / name)
        assert not all_differ(list(tmp_path.iterdir()))

    def test_weights_are_in_it(self, tmp_path: Path) -> None:
        """A head that looks at one token each gives as many dark cells as there are rows."""
        path = tmp_path / "cells.png"
        maps = maps_of(["▁a", "▁b", "▁c", "</s>"], ["▁x", "</s>"], np.eye(4)[[2, 0]])
        plot_attention(maps, path)
        image = pixels(path)[:, :, :3]
        darkest = np.abs(image - np.array([0x08, 0x30, 0x6B]) / 255).max(axis=2) < 0.01
        # 0.45 inches a column and 0.3 a row, 110 dots per inch; the scale of colours adds a few.
        assert darkest.sum() == pytest.approx(2 * (0.45 * 110) * (0.3 * 110), rel=0.1)

    @pytest.mark.parametrize("tokens", [2, 100])
    def test_any_length(self, tokens: int, tmp_path: Path) -> None:
        path = tmp_path / "picture.png"
        source = [f"▁word{i}" for i in range(tokens - 1)]
        plot_attention(random_maps([*source, "</s>"], ["▁a"], layers=1, heads=2), path)
        height, width = pixels(path).shape[:2]
        assert max(height, width) < 3000

    def test_any_tokens(self, tmp_path: Path) -> None:
        """Such as a formula of matplotlib's, if they are valid in a file's text at all."""
        maps = random_maps([*HOSTILE, "▁שלום", "\ud800", "x" * 500, "</s>"], HOSTILE, layers=1)
        for suffix in ("png", "svg", "pdf"):
            plot_attention(maps, tmp_path / f"picture.{suffix}", heads=[0])
        signatures = [path.read_bytes()[:4] for path in sorted(tmp_path.iterdir())]
        assert signatures == [b"%PDF", b"\x89PNG", b"<?xm"]

    def test_positions(self, tmp_path: Path) -> None:
        for length, d_model in ((1, 2), (100, 20), (100, 512), (7, 512)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                table = sinusoidal_positions(length, d_model)
                plot_positions(table, tmp_path / f"{length}-{d_model}.png")
        assert all_differ(list(tmp_path.iterdir()))
        with pytest.raises(OptionError, match=r"\[3\], expected \[length, d_model\]"):
            plot_positions(np.zeros(3, np.float32), tmp_path / "none.png")

    @pytest.mark.parametrize("name", ["picture", "picture.jpeg", "png"])
    def test_unknown_formats(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"expected \.png, \.svg or \.pdf"):
            plot_attention(random_maps(), tmp_path / name)

    def test_unknown_layer_writes_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="layer 3"):
            plot_attention(random_maps(), tmp_path / "picture.png", layers=[3])
        assert not list(tmp_path.iterdir())


def test_missing_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    draws: list[Callable[[Path], None]] = [
        lambda path: plot_attention(random_maps(), path),
        lambda path: plot_positions(sinusoidal_positions(3, 4), path),
    ]
    for draw in draws:
        with pytest.raises(OptionError, match=re.escape('pip install "pytransformer[plot]"')):
            draw(tmp_path / "picture.png")


def test_import_waits_for_matplotlib(tmp_path: Path) -> None:
    code = "import sys, pytransformer.cli, pytransformer.attention; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "pytransformer.attention.plot" in loaded
    assert "matplotlib" not in loaded


class TestPage:
    """What stands in the file; a browser reads it in test_attention_page.py."""

    def data(self, page: str) -> dict[str, Any]:
        found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page)
        assert found
        values: dict[str, Any] = json.loads(found[1])
        return values

    def test_tokens_stay_in_their_script(self, tmp_path: Path) -> None:
        tokens = [*HOSTILE, "\ud800", "&amp;", "</s>"]
        harmless, hostile = tmp_path / "harmless.html", tmp_path / "hostile.html"
        write_page(random_maps(), harmless)
        write_page(random_maps(tokens, tokens), hostile, title="</title><script>alert(1)")
        page = hostile.read_text(encoding="utf-8")
        values = self.data(page)
        assert values["kinds"]["cross"]["columns"] == tokens
        assert values["title"] == "</title><script>alert(1)"
        # Of the page as such nothing has changed.
        cut = re.compile(r"application/json\">.*?</script>")
        assert cut.sub("", page) == cut.sub("", harmless.read_text(encoding="utf-8"))
        assert "\u2028" not in page

    def test_needs_nothing_else(self, tmp_path: Path) -> None:
        write_page(random_maps(), tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "default-src 'none'" in page
        assert not re.search(r"innerHTML|document\.write|eval\(|<link|\ssrc=|url\(|@import", page)
        assert re.findall(r"https?://[^\"]*", page) == ["http://www.w3.org/2000/svg"]

    def test_of_a_large_model_is_small(self, tmp_path: Path) -> None:
        tokens = [f"▁word{i}" for i in range(40)]
        write_page(random_maps(tokens, tokens, layers=6, heads=8), tmp_path / "page.html")
        assert (tmp_path / "page.html").stat().st_size < 1e6


class TestCommandLine:
    @pytest.fixture
    def maps(self, monkeypatch: pytest.MonkeyPatch) -> AttentionMaps:
        """What every call of the translator's gives."""
        maps = maps_of(SOURCE, TARGET, TestAlignment.CROSS)
        monkeypatch.setattr(
            pytransformer.Translator, "attention", lambda *_, **__: maps, raising=False
        )
        return maps

    def test_table(self, maps: AttentionMaps, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["attention", GERMAN]) == 0
        assert capsys.readouterr().out == (
            "A dog in snow.\n\n"
            "A      Ein      0.60\n"
            "dog    Hund     0.70\n"
            "in     Schnee.  0.60\n"
            "snow.  Schnee.  0.45\n"
        )

    def test_links(self, maps: AttentionMaps, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["attention", GERMAN, "--align", "--threshold", "0.5", "--head", "0"]) == 0
        assert capsys.readouterr().out == "0-0 1-1 3-2\n"

    def test_files(
        self, maps: AttentionMaps, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        pytest.importorskip("matplotlib")
        outputs = [tmp_path / name for name in ("command.png", "call.png", "page.html")]
        flags = ["--kind", "decoder", "--layer", "-1", "--head", "0"]
        files = ["--plot", str(outputs[0]), "--html", str(outputs[2])]
        assert main(["attention", GERMAN, *flags, *files]) == 0
        plot_attention(maps, outputs[1], kind="decoder", layers=[-1], heads=[0])
        assert outputs[0].read_bytes() == outputs[1].read_bytes()
        assert GERMAN.encode("ascii", "backslashreplace").decode() not in capsys.readouterr().out
        assert "durch den Schnee." in outputs[2].read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--plot", "picture.bmp"], ["picture.bmp", ".png"]),
            (["--plot", "nowhere/picture.png"], ["nowhere", "no such directory"]),
            (["--html", "."], ["directory"]),
            (["--layer", "0,1"], ["--layer"]),
            (["--layer", "1"], ["layer 1"]),
            (["--head", "x"], ["--head", "'x'", "0,3"]),
            (["--head", "1"], ["head 1"]),
            (["--threshold", "2"], ["threshold", "0 to 1"]),
            (["--kind", "sideways"], ["sideways", "cross"]),
        ],
    )
    def test_mistakes_are_told_in_one_line(
        self,
        maps: AttentionMaps,
        flags: list[str],
        words: list[str],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["attention", GERMAN, *flags]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        assert all(word in captured.err for word in words), captured.err
        assert not list(tmp_path.iterdir())

    def test_positions(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        path = tmp_path / "positions.png"
        assert main(["positions", str(path), "--length", "30", "--d-model", "16"]) == 0
        plot_positions(sinusoidal_positions(30, 16), tmp_path / "call.png")
        assert path.read_bytes() == (tmp_path / "call.png").read_bytes()
        assert main(["positions", str(path), "--d-model", "3"]) == 2
        assert "d_model is 3" in capsys.readouterr().err


class TestBundledModel:
    def test_words_look_at_what_they_translate(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["attention", GERMAN, "--to", "en"]) == 0
        translation, _, *rows = capsys.readouterr().out.splitlines()
        assert translation == pytransformer.Translator().translate(GERMAN, tgt_lang="en")
        looks = {tuple(row.split()[:2]) for row in rows}
        assert {("dog", "Hund"), ("snow.", "Schnee.")} <= looks

    def test_given_translation(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["attention", GERMAN, "--to", "en", "--target", "A cat sleeps."]) == 0
        assert capsys.readouterr().out.startswith("A cat sleeps.\n\n")
