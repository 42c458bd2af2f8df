"""The command line, as a user meets it: in a process of its own."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import pytransformer
from checkpoints import MarianCheckpoint, make_marian
from pytransformer.cli import main
from pytransformer.cli.lines import LineReader
from pytransformer.cli.progress import Progress

TEXT = "Der Hund läuft im Schnee."


def command(*arguments: str | Path) -> list[str]:
    """The installed program: Python's `-m` would find the source in a clone's folder first."""
    return [os.path.join(sysconfig.get_path("scripts"), "pytransformer"), *map(str, arguments)]


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(*arguments), input=stdin, capture_output=True, check=False)


def assert_user_error(result: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Exit code 2, one line on stderr that holds all the words, no traceback."""
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("pytransformer")
    assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture(scope="module")
def expected(marian: MarianCheckpoint) -> str:
    return pytransformer.Translator(marian.path).translate(TEXT)


class TestTranslate:
    def test_texts_become_lines(self, marian: MarianCheckpoint, expected: str) -> None:
        result = run("translate", "--model", marian.path, TEXT, "", TEXT)
        assert result.returncode == 0, result.stderr
        assert result.stdout.decode() == f"{expected}\n\n{expected}\n"
        assert result.stderr == b""

    def test_stdin_to_stdout_keeps_lines(self, marian: MarianCheckpoint, expected: str) -> None:
        source = f"\n{TEXT}\n \n{TEXT}\r\n\n{TEXT}"
        result = run("translate", "--model", marian.path, stdin=source.encode())
        assert result.stdout.decode() == f"\n{expected}\n\n{expected}\r\n\n{expected}\n"

    def test_empty_input_gives_empty_output(self, marian: MarianCheckpoint) -> None:
        result = run("translate", "--model", marian.path)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")

    def test_files(self, marian: MarianCheckpoint, expected: str, tmp_path: Path) -> None:
        source, target = tmp_path / "in", tmp_path / "out"
        source.write_text(f"{TEXT}\n" * 200, encoding="utf-8")
        result = run("translate", "--model", marian.path, "--input", source, "--output", target)
        assert result.returncode == 0, result.stderr
        assert target.read_text(encoding="utf-8") == f"{expected}\n" * 200

    def test_lines_come_as_soon_as_they_are_ready(
        self, marian: MarianCheckpoint, expected: str
    ) -> None:
        arguments = command("translate", "--model", marian.path)
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for _ in range(3):  # each answer is read before the next line is written
                process.stdin.write(f"{TEXT}\n".encode())
                process.stdin.flush()
                assert process.stdout.readline().decode() == f"{expected}\n"
            process.stdin.close()
            assert process.wait() == 0

    def test_options_reach_the_search(self, marian: MarianCheckpoint) -> None:
        translator = pytransformer.Translator(marian.path)
        result = run(
            "translate", "--model", marian.path, "--beam-size", "3", "--max-decoding-length", "5",
            "--early-stopping", "never", "--length-penalty", "0.5", "--batch-size", "2", TEXT,
        )  # fmt: skip
        options = {"beam_size": 3, "max_decoding_length": 5, "early_stopping": "never"}
        text = translator.translate(TEXT, length_penalty=0.5, **options)
        assert result.stdout.decode() == f"{text}\n"

    def test_compute_type(self, marian: MarianCheckpoint) -> None:
        text = pytransformer.Translator(marian.path, compute_type="int8").translate(TEXT)
        for name in ("int8", "auto", "int8_float32"):
            result = run("translate", "--model", marian.path, "--compute-type", name, TEXT)
            assert result.stdout.decode() == f"{text}\n"

    def test_languages(self, tmp_path: Path) -> None:
        path = make_marian(tmp_path / "model", languages=("de", "en")).path
        text = pytransformer.Translator(path).translate(TEXT, tgt_lang="de")
        result = run("translate", "--model", path, "--to", "de", TEXT)
        assert result.stdout.decode() == f"{text}\n"
        assert_user_error(run("translate", "--model", path, "--to", "xx", TEXT), "xx", "de, en")

    def test_native_file_is_a_model_too(
        self, marian: MarianCheckpoint, expected: str, tmp_path: Path
    ) -> None:
        native = tmp_path / "model.safetensors"
        assert run("convert", marian.path, native).returncode == 0
        result = run("translate", "--model", native, TEXT)
        assert result.stdout.decode() == f"{expected}\n"


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], ["COMMAND"]),
            (["fly"], ["fly"]),
            (["translate", "--fly"], ["--fly"]),
            (["translate", "--threads", "0.5", TEXT], ["--threads", "0.5", "integer"]),
            (["translate", "--model", "no/where", TEXT], ["no/where"]),
            (["translate", "--input", "no/where"], ["no/where"]),
            (["translate", "--input", "x", TEXT], ["TEXT", "--input"]),
            (["convert", "no/where", "out"], ["no/where"]),
            (["convert", "--compute-type", "float16", "x", "out"], ["'float16'", "'bfloat16'"]),
            (["translate", "--compute-type", "int16", TEXT], ["'int16'", "'int8'"]),
            (["info", "no/where"], ["no/where"]),
        ],
    )
    def test_wrong_arguments(
        self,
        arguments: list[str],
        words: list[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert_user_error(run(*arguments), *words)
        assert not list(tmp_path.iterdir())

    def test_all_wrong_options_at_once(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        output = tmp_path / "out"
        result = run(
            "translate", "--model", marian.path, "--output", output, "--beam-size", "0",
            "--length-penalty", "nan", "--batch-size", "x", TEXT,
        )  # fmt: skip
        assert_user_error(
            result, "beam_size is 0", "length_penalty is nan", "max_batch_size is 'x'"
        )
        assert not output.exists()

    def test_input_that_is_not_utf8(self, marian: MarianCheckpoint, expected: str) -> None:
        source = f"{TEXT}\n".encode() + b"Der \xff Hund\n"
        result = run("translate", "--model", marian.path, stdin=source)
        assert_user_error(result, "stdin, line 2", "byte 5", "0xff", "UTF-8")
        assert result.stdout.decode() == f"{expected}\n"

    def test_text_that_is_not_utf8(self, marian: MarianCheckpoint) -> None:
        arguments = [os.fsencode(word) for word in command("translate", "--model", marian.path)]
        result = subprocess.run([*arguments, b"\xff"], capture_output=True, check=False)
        assert_user_error(result, "Unicode")

    def test_line_that_is_too_long(self, marian: MarianCheckpoint) -> None:
        source = f"{TEXT}\n{'Hund ' * 200}\n".encode()
        arguments = ["translate", "--model", marian.path]
        result = run(*arguments, stdin=source)
        assert_user_error(result, "stdin, line 2", "max_input_length")
        assert run(*arguments, "--max-input-length", "60", stdin=source).returncode == 0

    def test_output_that_cannot_be_written(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        for output in (tmp_path, tmp_path / "no" / "where"):
            result = run("translate", "--model", marian.path, "--output", output, TEXT)
            assert_user_error(result, str(output))

    def test_output_over_the_input(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text(TEXT, encoding="utf-8")
        result = run("translate", "--model", marian.path, "--input", file, "--output", file)
        assert_user_error(result, "is the input too")
        assert file.read_text(encoding="utf-8") == TEXT

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_full_disk(self, marian: MarianCheckpoint) -> None:
        arguments = command("translate", "--model", marian.path, TEXT)
        with open("/dev/full", "wb") as full:
            result = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, check=False)
        assert_user_error(result, "No space left")

    def test_closed_streams(self, marian: MarianCheckpoint) -> None:
        arguments = shlex.join(command("translate", "--model", marian.path))
        for closed, word in (("<&-", "stdin"), ("x >&-", "stdout")):
            script = f"{arguments} {closed}"
            result = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
            assert_user_error(result, f"{word} is closed")


class TestSignals:
    def test_reader_that_goes_away_is_met_in_silence(self, marian: MarianCheckpoint) -> None:
        arguments = command("translate", "--model", marian.path)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(arguments, **pipes) as process:  # type: ignore[call-overload]
            process.stdout.close()
            process.stdin.write(f"{TEXT}\n".encode())
            process.stdin.close()
            assert process.stderr.read() == b""
            assert process.wait() == 141

    def test_interrupt_ends_quietly(self, marian: MarianCheckpoint) -> None:
        arguments = command("translate", "--model", marian.path)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(arguments, **pipes) as process:  # type: ignore[call-overload]
            process.stdin.write(f"{TEXT}\n".encode())
            process.stdin.flush()
            process.stdout.readline()  # it is at work now
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
            assert process.stderr.read() == b""


class TestConvert:
    def test_writes_a_file_and_says_what_it_is(
        self, marian: MarianCheckpoint, tmp_path: Path
    ) -> None:
        output = tmp_path / "model.safetensors"
        result = run("convert", marian.path, output)
        assert result.returncode == 0, result.stderr
        assert result.stdout.decode().startswith(f"{output}: marian, float32, ")
        again = tmp_path / "again.safetensors"
        assert run("convert", output, again).returncode == 0
        assert again.read_bytes() == output.read_bytes()
        assert sorted(tmp_path.iterdir()) == [again, output]

    @pytest.mark.parametrize("compute_type", ["bfloat16", "int8", "int4", "auto"])
    def test_compute_types(
        self, marian: MarianCheckpoint, compute_type: str, tmp_path: Path
    ) -> None:
        """From a checkpoint, and from a native file in float32, which is rounded anew."""
        plain, direct, again = (tmp_path / name for name in ("plain", "direct", "again"))
        expected = "int8" if compute_type == "auto" else compute_type
        option = ["--compute-type", compute_type]
        assert run("convert", marian.path, plain).returncode == 0
        for source, output in ((marian.path, direct), (plain, again)):
            result = run("convert", *option, source, output)
            assert result.returncode == 0, result.stderr
            assert result.stdout.decode().startswith(f"{output}: marian, {expected}, ")
        assert direct.read_bytes() == again.read_bytes()
        assert direct.stat().st_size < plain.stat().st_size
        kept = tmp_path / "kept"
        assert run("convert", direct, kept).returncode == 0
        assert kept.read_bytes() == direct.read_bytes()
        assert f"compute type     {expected}\n" in run("info", kept).stdout.decode()
        assert len(list(tmp_path.iterdir())) == 4

    def test_over_its_own_source(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        model = tmp_path / "model"
        assert run("convert", marian.path, model).returncode == 0
        assert run("convert", "--compute-type", "int8", model, model).returncode == 0
        assert ", int8, " in run("convert", model, model).stdout.decode()

    def test_leaves_nothing_where_the_checkpoint_is_broken(
        self, marian: MarianCheckpoint, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        for file in marian.path.iterdir():
            (broken / file.name).write_bytes(file.read_bytes())
        (broken / "config.json").write_text("{")
        output = tmp_path / "model.safetensors"
        assert_user_error(run("convert", broken, output), "config.json")
        assert list(tmp_path.iterdir()) == [broken]

    def test_leaves_nothing_where_the_disk_is_full(
        self, marian: MarianCheckpoint, tmp_path: Path
    ) -> None:
        output = tmp_path / "model.safetensors"
        result = subprocess.run(
            command("convert", marian.path, output),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
            capture_output=True,
            check=False,
        )
        assert_user_error(result, str(output))
        assert not list(tmp_path.iterdir())

    def test_refuses_a_place_where_no_file_can_be(
        self, marian: MarianCheckpoint, tmp_path: Path
    ) -> None:
        for output in (tmp_path, tmp_path / "no" / "where", Path(os.devnull)):
            assert_user_error(run("convert", marian.path, output))
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
        assert not list(tmp_path.iterdir())


class TestInfo:
    def test_names_the_machine_and_the_model(self, marian: MarianCheckpoint) -> None:
        result = run("info", marian.path)
        text = result.stdout.decode()
        assert result.returncode == 0, result.stderr
        assert f"pytransformer    {pytransformer.__version__}" in text
        facts = ["instruction set", "cores", "marian", "d_model 24", "2 layers", "3 layers"]
        facts += ["compute type     float32"]
        assert all(fact in text for fact in facts), text

    def test_runs_as_a_module(self, tmp_path: Path) -> None:
        module = [sys.executable, "-m", "pytransformer", "--version"]
        found = subprocess.run(module, cwd=tmp_path, capture_output=True, check=True).stdout
        assert found == run("--version").stdout

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"pytransformer {pytransformer.__version__}\n"


class TestBundledModel:
    def test_german_to_english(self) -> None:
        for arguments in (["--to", "en"], ["--from", "de", "--to", "en"], []):
            result = run("translate", *arguments, "Ein Hund läuft durch den Schnee.")
            assert result.returncode == 0, result.stderr
            words = result.stdout.decode().lower().strip(".\n").split()
            assert {"a", "dog", "the", "snow"} <= set(words)

    def test_english_to_german(self) -> None:
        result = run("translate", "--from", "en", "--to", "de", "A dog runs through the snow.")
        words = result.stdout.decode().strip(".\n").split()
        assert {"Ein", "Hund", "Schnee"} <= set(words)

    def test_info(self) -> None:
        assert "de, en" in run("info").stdout.decode()


class TestLineReader:
    def read(self, data: bytes, *, first: int = 64, most: int = 64) -> list[list[str]]:
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        with open(reading, "rb", buffering=0) as file:
            reader = LineReader(file.fileno(), "pipe", first=first, most=most)
            return list(reader.chunks())

    def test_only_newlines_end_lines(self) -> None:
        odd = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h\0i"
        assert self.read(f"{odd}\n\n{odd}".encode()) == [[odd, "", odd]]

    def test_chunks_grow(self) -> None:
        chunks = self.read(b"a\n" * 40, first=4, most=16)
        assert [len(chunk) for chunk in chunks] == [4, 8, 16, 12]

    def test_line_longer_than_a_read(self) -> None:
        line = "ü" * 30_000
        assert self.read(f"{line}\nb\n".encode()) == [[line, "b"]]


class Screen:
    """A terminal that remembers what was written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(("total", "share"), [(1000, " 50% ["), (None, "1,000 lines")])
def test_progress_overwrites_its_line(
    total: int | None, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    screen = Screen()
    progress = Progress(screen, total)  # type: ignore[arg-type]
    progress.show(1000, 500)
    progress.show(2000, 1000)
    progress.close()
    _, first, second = screen.text.split("\r")
    assert first.startswith(share)
    assert "1,000 lines, 1,000 lines/s" in first
    assert second.endswith("\n")
    assert len(second.rstrip("\n")) >= len(first)
