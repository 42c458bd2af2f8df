"""Options of decoding, scores and glossaries on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

import pytransformer
from bundled import GERMAN, bundled_model
from pytransformer.cli import main
from pytransformer.cli.arguments import add_flags, given
from pytransformer.cli.glossary_file import read_glossary
from pytransformer.confidence import word_confidences
from pytransformer.option_rules import FLAG
from pytransformer.options import OPTIONS

TEXT = GERMAN[0]
MODEL = ["--model", str(bundled_model()), "--to", "en", "--threads", "1"]


@pytest.fixture(scope="module")
def translator() -> pytransformer.Translator:
    return pytransformer.Translator(bundled_model(), intra_threads=1)


class Command:
    """Runs commands in this process and gives what they print."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capture = capfd

    def __call__(self, *arguments: str | Path) -> list[str]:
        """The lines on stdout of a command that succeeds."""
        code = main(list(map(str, arguments)))
        output, errors = self._capture.readouterr()
        assert (code, errors) == (0, "")
        return output.split("\n")[:-1]

    def translate(self, *arguments: str | Path) -> list[str]:
        return self("translate", *MODEL, *arguments)

    def fail(self, *arguments: str | Path) -> tuple[str, str]:
        """What a command prints that fails for a mistake of its user: stdout, and one line."""
        code = main(list(map(str, arguments)))
        output, errors = self._capture.readouterr()
        assert code == 2
        assert errors.count("\n") == 1
        return output, errors


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(capfd)


def parse(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_flags(parser, OPTIONS)
    return given(parser.parse_args(arguments), OPTIONS)


def test_every_flag_leads_to_its_option() -> None:
    texts = {"N": "3", "X": "0.5", "TEXT": "a b", "TOKEN": "a"}
    for name, info in OPTIONS.items():
        for flag in info.flags:
            if info.rule is FLAG:
                assert parse(flag) == {name: True}
                assert parse(flag.replace("--", "--no-", 1)) == {name: False}
                continue
            text = texts.get(info.rule.metavar) or info.rule.metavar.strip("{}").split(",")[0]
            value = info.rule.parse(text)
            assert parse(flag, text) == {name: [value] if info.rule.several else value}
    assert parse() == {}


def test_flags_for_lists_may_come_several_times() -> None:
    assert parse("--force", "a b", "--force", "c") == {"force_phrases": ["a b", "c"]}
    assert parse("--end-token", ".", "--end-token", "</s>") == {"end_token": [".", "</s>"]}


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (["--force", "cat"], {"force_phrases": ["cat"]}),
        (["--suppress", "dog", "--suppress", "snow"], {"suppress_sequences": ["dog", "snow"]}),
        (["--sampling-topk", "0", "--seed", "7"], {"sampling_topk": 0, "seed": 7}),
        (
            ["--no-repeat-ngram-size", "1", "--min-decoding-length", "12", "--stop-loops"],
            {"no_repeat_ngram_size": 1, "min_decoding_length": 12, "stop_loops": True},
        ),
        (["--prefix", "The dog"], {"target_prefix": "The dog"}),
        (["--max-length-factor", "0.5"], {"max_length_factor": 0.5}),
        (["--end-token", "."], {"end_token": "."}),
        (
            ["--prefix", "The", "--return-alternatives", "--beam-size", "2"],
            {"target_prefix": "The", "return_alternatives": True, "beam_size": 2},
        ),
    ],
    ids=str,
)
def test_options_do_what_they_do_in_python(
    command: Command,
    translator: pytransformer.Translator,
    flags: list[str],
    options: dict[str, Any],
) -> None:
    expected = translator.translate(TEXT, tgt_lang="en", **options)
    assert expected != translator.translate(TEXT, tgt_lang="en")
    assert command.translate(*flags, TEXT) == [expected]


def test_n_best(command: Command, translator: pytransformer.Translator, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text(f"{TEXT}\n\n{GERMAN[1]}\n", encoding="utf-8")
    lines = command.translate("--n-best", "3", "--input", source)
    found = translator.translate_n_best([TEXT, "", GERMAN[1]], tgt_lang="en", num_hypotheses=3)
    assert lines == [
        f"{number} ||| {one.text} ||| {one.score:.6f}"
        for number, several in enumerate(found)
        for one in several
    ]
    assert len(set(lines[:3])) == 3
    assert lines[3:6] == ["1 |||  ||| 0.000000"] * 3
    assert command.translate("--n-best", "3", f"{TEXT}\n\n{GERMAN[1]}") == lines


def test_scores(command: Command, translator: pytransformer.Translator) -> None:
    lines = command.translate("--scores", TEXT, "")
    best = translator.translate(TEXT, tgt_lang="en")
    score, text = lines[0].split(" ||| ")
    assert text == best
    assert -1 < float(score) < 0
    assert lines[1] == "0.000000 ||| "


def test_n_best_goes_with_glossaries_and_prefixes(command: Command, tmp_path: Path) -> None:
    glossary = tmp_path / "terms.tsv"
    glossary.write_text("Schnee\tpowder\n", encoding="utf-8")
    lines = command.translate("--n-best", "2", "--glossary", glossary, "--prefix", "The", TEXT)
    texts = [line.split(" ||| ")[1] for line in lines]
    assert len(texts) == 2
    assert all(text.startswith("The ") and "powder" in text for text in texts)


def test_n_best_needs_beams_or_samples(command: Command) -> None:
    _, error = command.fail("translate", *MODEL, "--n-best", "9", TEXT)
    assert "num_hypotheses is 9, more than beam_size, 4" in error
    arguments = ["--n-best", "9", "--sampling-topk", "0", "--seed", "1"]
    assert len(command.translate(*arguments, TEXT)) == 9
    _, error = command.fail("translate", *MODEL, "--n-best", "few", TEXT)
    assert "num_hypotheses is 'few'" in error


def test_glossary(command: Command, translator: pytransformer.Translator, tmp_path: Path) -> None:
    terms = {"Hund": "hound", "Schnee": "powder snow"}
    glossary = tmp_path / "terms.tsv"
    glossary.write_text("".join(f"{a}\t{b}\n" for a, b in terms.items()), encoding="utf-8")
    for mode in ("phrases", "placeholders"):
        expected = translator.translate(
            TEXT,
            tgt_lang="en",
            glossary=terms,
            glossary_mode=mode,  # type: ignore[arg-type]
        )
        assert command.translate("--glossary", glossary, "--glossary-mode", mode, TEXT) == [
            expected
        ]
        assert "hound" in expected


def test_glossary_file_is_read_as_editors_write_it(tmp_path: Path) -> None:
    file = tmp_path / "terms.tsv"
    file.write_bytes("\ufeffHund\t hound \r\n\n\t\nein Ball\ta ball\nHund\thound".encode())
    assert read_glossary(str(file)) == {"Hund": "hound", "ein Ball": "a ball"}
    file.write_bytes(b"")
    assert read_glossary(str(file)) == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"Hund", ["a tab"]),
        (b"Hund dog", ["a tab"]),
        (b"Hund\t", ["translation"]),
        (b"\tdog", ["a term"]),
        (b"Hund\tdog\tcat", ["a tab"]),
        (b"H\xffnd\tdog", ["byte 2", "0xff", "UTF-8"]),
        (b"Ball\tbullet", ["'bullet'", "'ball'", "before"]),
    ],
)
def test_mistakes_in_a_glossary_are_named_with_their_line(
    command: Command, tmp_path: Path, line: bytes, words: list[str]
) -> None:
    glossary, output = tmp_path / "terms.tsv", tmp_path / "out"
    glossary.write_bytes(b"Ball\tball\n\n" + line + b"\n")
    _, error = command.fail("translate", *MODEL, "--glossary", glossary, "--output", output, TEXT)
    assert f"{glossary}, line 3" in error
    assert all(word in error for word in words)
    assert not output.exists()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--glossary", "no/where"], "no/where"),
        (["--glossary-mode", "phrases"], "needs --glossary"),
        (["--shortlist-first", "5"], "shortlist_first needs --shortlist"),
        (["--shortlist", "no/where"], "no/where"),
        (["--use-vmap"], "use_vmap"),
        (["--force", "日本"], "日本"),
        (["--sampling-topk", "x", "--patience", "nan"], "sampling_topk is 'x'"),
    ],
)
def test_mistakes(command: Command, flags: list[str], word: str) -> None:
    output, error = command.fail("translate", *MODEL, *flags, TEXT)
    assert word in error
    assert output == ""


def test_shortlist(command: Command, translator: pytransformer.Translator, tmp_path: Path) -> None:
    """A shortlist that lacks a word keeps the translation from using it."""
    plain = translator.translate(TEXT, tgt_lang="en")
    tokens = translator.tokenizer.encode_target(plain)
    words = translator.tokenizer.encode(TEXT, tgt_lang="en")
    shortlist = tmp_path / "lex.s2t"
    kept = [token for token in tokens if token != "▁dog"]
    pairs = [f"{target} {source} 0.5\n" for source in words for target in kept]
    shortlist.write_text("".join(pairs), encoding="utf-8")
    arguments = ["--shortlist", shortlist, "--shortlist-first", "5"]
    assert "dog" not in command.translate(*arguments, TEXT)[0].split()
    assert command.translate(*arguments, "--no-use-vmap", TEXT) == [plain]


class TestScore:
    @pytest.fixture
    def files(self, tmp_path: Path, translator: pytransformer.Translator) -> list[Path]:
        """Three lines, an empty one among them, and their translations."""
        source, target = tmp_path / "de", tmp_path / "en"
        lines = [TEXT, "", GERMAN[1]]
        source.write_text("\n".join(lines), encoding="utf-8")
        translations = translator.translate(lines, tgt_lang="en")
        target.write_text("\n".join(translations) + "\n", encoding="utf-8")
        return [source, target]

    def score(self, command: Command, files: list[Path], *more: str) -> list[str]:
        return command("score", *MODEL, "--source", files[0], "--target", files[1], *more)

    def test_scores_are_those_of_the_search(
        self, command: Command, translator: pytransformer.Translator, files: list[Path]
    ) -> None:
        lines = self.score(command, files)
        found = translator.translate_n_best([TEXT, GERMAN[1]], tgt_lang="en", length_penalty=1)
        assert [lines[0], lines[2]] == [f"{one[0].score:.6f}" for one in found]
        assert len(lines) == 3
        float(lines[1])

    def test_words(
        self, command: Command, translator: pytransformer.Translator, files: list[Path]
    ) -> None:
        line = self.score(command, files, "--tokens")[0]
        source = translator.tokenizer.encode(TEXT, tgt_lang="en")
        target = translator.tokenizer.encode_target(translator.translate(TEXT, tgt_lang="en"))
        scored = translator.score_batch([source], [target])[0]
        words = word_confidences(scored.tokens, scored.log_probs)
        expected = " ".join(f"{one.word} {one.confidence:.4f}" for one in words)
        assert line == f"{scored.normalized_score:.6f} ||| {expected}"

    def test_files_that_do_not_belong_together(self, command: Command, files: list[Path]) -> None:
        whole = self.score(command, files)
        files[1].write_text(files[1].read_text(encoding="utf-8") + "more\n", encoding="utf-8")
        arguments = ["score", *MODEL, "--source", str(files[0]), "--target", str(files[1])]
        output, error = command.fail(*arguments)
        assert output.split() == whole
        assert "differ in their number of lines" in error

    @pytest.mark.parametrize("side", [0, 1])
    def test_broken_lines_are_named(self, command: Command, files: list[Path], side: int) -> None:
        whole = files[side].read_bytes()
        arguments = ["score", *MODEL, "--source", str(files[0]), "--target", str(files[1])]
        files[side].write_bytes(whole.split(b"\n")[0] + b"\nx\xff\n\n")
        output, error = command.fail(*arguments)
        assert output.count("\n") == 1
        assert f"{files[side]}, line 2: byte 2 of the line, 0xff" in error
        files[side].write_bytes(b"\n" + b"Hund " * 600 + b"\n\n")
        output, error = command.fail(*arguments)
        assert f"{files[side]}, line 2 has 60" in error

    def test_files_are_needed(self, command: Command, files: list[Path]) -> None:
        _, error = command.fail("score", *MODEL, "--source", files[0])
        assert "--target" in error
        _, error = command.fail("score", *MODEL, "--source", files[0], "--target", "no/where")
        assert "no/where" in error
