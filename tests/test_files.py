"""Files of sentences: their lines, their errors, and that they equal lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundled import GERMAN, bundled_model
from pytransformer import OptionError, Translator


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


@pytest.fixture(scope="module")
def tokens(translator: Translator) -> list[list[str]]:
    return [translator.tokenizer.encode(text, tgt_lang="en") for text in GERMAN]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tokens: list[list[str]]) -> Path:
    """Tokens with spaces between them, an empty line, and other ends of lines."""
    path = tmp_path_factory.mktemp("files") / "source.txt"
    lines = [" ".join(sentence) for sentence in tokens]
    lines[3:3] = ["", lines[0] + "\r", "  " + lines[1].replace(" ", "\t") + " "]
    path.write_bytes("\n".join(lines).encode() + b"\n")
    return path


@pytest.fixture(scope="module")
def sentences(tokens: list[list[str]]) -> list[list[str]]:
    """What is in the file."""
    return [*tokens[:3], [], tokens[0], tokens[1], *tokens[3:]]


def lines_of(path: Path) -> list[str]:
    text = path.read_bytes().decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


class TestTranslateFile:
    def test_equals_translate_batch(
        self, translator: Translator, source: Path, sentences: list[list[str]], tmp_path: Path
    ) -> None:
        expected = [result.hypotheses[0] for result in translator.translate_batch(sentences)]
        for size in (1, 7, 32):
            output = tmp_path / "output.txt"
            stats = translator.translate_file(source, output, max_batch_size=size)
            assert [line.split() for line in lines_of(output)] == expected
            assert stats.num_examples == len(sentences)
            assert stats.num_tokens == sum(map(len, expected))
            assert stats.total_time_in_ms > 0

    def test_last_line_needs_no_newline(self, translator: Translator, tmp_path: Path) -> None:
        path, output = tmp_path / "in", str(tmp_path / "out")
        path.write_text("▁der\n▁der", encoding="utf-8")
        assert translator.translate_file(str(path), output).num_examples == 2
        path.write_text("", encoding="utf-8")
        assert translator.translate_file(str(path), output).num_examples == 0
        assert lines_of(Path(output)) == []

    def test_n_best_with_scores(
        self, translator: Translator, source: Path, sentences: list[list[str]], tmp_path: Path
    ) -> None:
        options: Any = {"beam_size": 3, "num_hypotheses": 2}
        output = tmp_path / "output.txt"
        translator.translate_file(source, output, with_scores=True, **options)
        results = translator.translate_batch(sentences, return_scores=True, **options)
        assert lines_of(output) == [
            f"{score:.6f} ||| {' '.join(tokens)}"
            for result in results
            for tokens, score in zip(result.hypotheses, result.scores, strict=True)
        ]

    def test_text_by_functions(self, translator: Translator, tmp_path: Path) -> None:
        path, output = tmp_path / "in", tmp_path / "out"
        path.write_text("\n".join(GERMAN), encoding="utf-8")
        starts = tmp_path / "starts"
        starts.write_text("The\n" + "\n" * (len(GERMAN) - 1), encoding="utf-8")
        tokenizer = translator.tokenizer
        functions: Any = {
            "source_tokenize_fn": lambda text: tokenizer.encode(text, tgt_lang="en"),
            "target_tokenize_fn": tokenizer.encode_target,
            "target_detokenize_fn": tokenizer.decode_tokens,
        }
        translator.translate_file(path, output, beam_size=1, **functions)
        expected = translator.translate(GERMAN, tgt_lang="en", beam_size=1)
        assert lines_of(output) == expected
        translator.translate_file(path, output, starts, beam_size=1, **functions)
        assert lines_of(output)[0].startswith("The ")
        assert lines_of(output)[1:] == expected[1:]

    def test_other_white_space_is_part_of_tokens(
        self, translator: Translator, tmp_path: Path
    ) -> None:
        path, output = tmp_path / "in", tmp_path / "out"
        path.write_text("▁der\u00a0▁der\u2028▁der", encoding="utf-8")
        translator.translate_file(path, output)
        (expected,) = translator.translate_batch([["▁der\u00a0▁der\u2028▁der"]])
        assert lines_of(output) == [" ".join(expected.hypotheses[0])]

    def test_same_file_is_refused(
        self, translator: Translator, source: Path, tmp_path: Path
    ) -> None:
        before = source.read_bytes()
        other, link = tmp_path / "other", tmp_path / "link"
        other.write_text("▁der\n", encoding="utf-8")
        link.symlink_to(source)
        for output in (source, link):
            with pytest.raises(OptionError, match="is the input too"):
                translator.translate_file(source, output)
            with pytest.raises(OptionError, match="is the input too"):
                translator.translate_file(other, output, source)
            with pytest.raises(OptionError, match="is the input too"):
                translator.score_file(other, source, output)
        assert source.read_bytes() == before

    def test_wrong_arguments_leave_the_output(
        self, translator: Translator, source: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "output.txt"
        output.write_text("kept", encoding="utf-8")
        with pytest.raises(OptionError, match="beam_size"):
            translator.translate_file(source, output, beam_size=0)
        with pytest.raises(FileNotFoundError, match="missing"):
            translator.translate_file(tmp_path / "missing", output)
        with pytest.raises(FileNotFoundError, match="missing"):
            translator.translate_file(source, output, tmp_path / "missing")
        with pytest.raises(FileNotFoundError, match="missing"):
            translator.score_file(source, tmp_path / "missing", output)
        with pytest.raises(OptionError, match="offset"):
            translator.score_file(source, source, output, offset=-1)
        assert output.read_text(encoding="utf-8") == "kept"
        with pytest.raises(OSError, match="nowhere"):
            translator.translate_file(source, tmp_path / "nowhere" / "output.txt")

    def test_bytes_that_are_no_text(self, translator: Translator, tmp_path: Path) -> None:
        path, output = tmp_path / "in", tmp_path / "out"
        path.write_bytes("▁der\n▁und\n".encode() + b"ab \xff\n")
        with pytest.raises(ValueError, match=r"in, line 3: byte 4 of the line, 0xff, is not UTF-8"):
            translator.translate_file(path, output)
        assert len(lines_of(output)) == 2

    def test_prefixes_of_another_number(
        self, translator: Translator, source: Path, tmp_path: Path
    ) -> None:
        prefixes = tmp_path / "prefixes"
        prefixes.write_text("▁The\n" * 4, encoding="utf-8")
        with pytest.raises(OptionError, match="target_prefix ends after 4, before source"):
            translator.translate_file(source, tmp_path / "out", prefixes)
        assert len(lines_of(tmp_path / "out")) == 4


class TestScoreFile:
    def test_equals_score_batch(
        self, translator: Translator, source: Path, sentences: list[list[str]], tmp_path: Path
    ) -> None:
        target, output = tmp_path / "target", tmp_path / "out"
        translator.translate_file(source, target)
        targets = [result.hypotheses[0] for result in translator.translate_batch(sentences)]
        stats = translator.score_file(
            source, target, output, with_tokens_score=True, max_batch_size=5
        )
        results = translator.score_batch(sentences, targets)
        assert lines_of(output) == [
            f"{result.normalized_score:.6f} ||| {' '.join(tokens)} ||| "
            + " ".join(f"{value:.6f}" for value in result.log_probs)
            for result, tokens in zip(results, targets, strict=True)
        ]
        assert stats.num_examples == len(sentences)
        assert stats.num_tokens == sum(len(result.tokens) for result in results)

    def test_other_number_of_targets(
        self, translator: Translator, source: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        target.write_text("▁The\n", encoding="utf-8")
        with pytest.raises(OptionError, match="target ends after 1, before source"):
            translator.score_file(source, target, tmp_path / "out")
