"""IBM Model 1 against its textbook form, and the command that makes shortlists with it."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import pytransformer
from bundled import bundled_model, corpus
from checkpoints import make_marian, write_tokenizer
from pytransformer import tokenizers
from pytransformer._ibm1 import Ibm1
from pytransformer.cli import main
from pytransformer.induction import LexicalTable, induce
from pytransformer.loaders.huggingface_marian_tokenizer import read_tokenizer
from pytransformer.model_files import open_model
from pytransformer.model_spec import TokenizerSpec

Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]
NULL = -1


def random_pairs(count: int, sizes: tuple[int, int] = (12, 9), seed: int = 0) -> Pairs:
    """Sentences in which target word `s % 9` tends to stand where the source has `s`."""
    generator = random.Random(seed)
    pairs = []
    for _ in range(count):
        source = [generator.randrange(sizes[0]) for _ in range(generator.randrange(1, 7))]
        target = [
            s % sizes[1] if generator.random() < 0.7 else generator.randrange(sizes[1])
            for s in source
        ]
        pairs.append((source, target))
    return pairs


def textbook(
    pairs: Pairs, iterations: int, null_word: bool
) -> tuple[dict[tuple[int, int], float], list[float]]:
    """t(target | source) and the log-likelihoods, as Brown et al. write it, in plain Python."""
    size = 1 + max(word for _, target in pairs for word in target)
    table: dict[tuple[int, int], float] = defaultdict(lambda: 1 / size)
    likelihoods = []
    for _ in range(iterations):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        totals: dict[int, float] = defaultdict(float)
        likelihood = 0.0
        for words, target in pairs:
            source = [NULL, *words] if null_word else list(words)
            for t in target:
                norm = sum(table[s, t] for s in source)
                likelihood += math.log(norm / len(source))
                for s in source:
                    counts[s, t] += table[s, t] / norm
                    totals[s] += table[s, t] / norm
        table = defaultdict(float, {(s, t): n / totals[s] for (s, t), n in counts.items()})
        likelihoods.append(likelihood)
    return dict(table), likelihoods


def as_dict(table: LexicalTable) -> dict[tuple[int, int], float]:
    keys = zip(table.sources.tolist(), table.targets.tolist(), strict=True)
    return dict(zip(keys, table.probabilities.tolist(), strict=True))


@pytest.mark.parametrize("null_word", [True, False])
@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_equal_to_the_textbook(iterations: int, null_word: bool) -> None:
    pairs = random_pairs(60)
    expected, likelihoods = textbook(pairs, iterations, null_word)
    table = induce(pairs, iterations=iterations, null_word=null_word)
    found = as_dict(table)
    without_null = {key: value for key, value in expected.items() if key[0] != NULL}
    assert found == pytest.approx(without_null, rel=1e-9)
    assert table.log_likelihoods == pytest.approx(likelihoods, rel=1e-9)


def test_known_example() -> None:
    """Das Haus, das Buch, ein Buch: the words find one another."""
    das, haus, buch, ein = range(4)
    the, house, book, a = range(4)
    pairs = [([das, haus], [the, house]), ([das, buch], [the, book]), ([ein, buch], [a, book])]
    found = as_dict(induce(pairs, iterations=40, null_word=False))
    for key in ((das, the), (haus, house), (buch, book), (ein, a)):
        assert found[key] > 0.95


def test_likelihood_never_falls() -> None:
    likelihoods = induce(random_pairs(200, seed=1), iterations=30).log_likelihoods
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(likelihoods))


def test_always_the_same_bits() -> None:
    pairs = random_pairs(300, (700, 500), seed=2)
    first, second = (induce(pairs, iterations=4) for _ in range(2))
    for name in ("sources", "targets", "probabilities"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.log_likelihoods == second.log_likelihoods


def test_order_and_threshold() -> None:
    pairs = random_pairs(100, seed=3)
    table = induce(pairs, iterations=3)
    rows = list(
        zip(table.sources.tolist(), (-table.probabilities).tolist(), table.targets, strict=True)
    )
    assert rows == sorted(rows)
    fewer = as_dict(induce(pairs, iterations=3, threshold=0.05))
    assert fewer == {key: value for key, value in as_dict(table).items() if value >= 0.05}
    assert 0 < len(fewer) < len(rows)


def test_every_source_word_has_a_distribution() -> None:
    table = induce(random_pairs(500, (300, 200), seed=4), iterations=3)
    sums = np.bincount(table.sources, table.probabilities)
    assert sums[np.unique(table.sources)] == pytest.approx(1)


def test_pairs_with_an_empty_side_teach_nothing() -> None:
    pairs = random_pairs(20)
    with_empty = [([], [1]), *pairs, ([1], []), ([], [])]
    assert as_dict(induce(with_empty)) == as_dict(induce(pairs))
    with pytest.raises(ValueError, match="no sentence pair has tokens on both sides"):
        induce([([], [1]), ([1], [])])


def test_long_sentences_and_many_chunks() -> None:
    """More sentences than one chunk, and more words in a sentence than the first table holds."""
    pairs = [*random_pairs(5000), (list(range(3000)), list(range(40)))]
    calls: list[tuple[int, int]] = []
    table = induce(pairs, iterations=2, progress=lambda *state: calls.append(state))
    assert table.sources.max() == 2999
    assert calls == [(4096, 10002), (5001, 10002), (9097, 10002), (10002, 10002)]


class TestTable:
    """The extension module, which must not follow a wrong index out of its arrays."""

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            (([3], [0, 1], [0], [0, 1]), "source: ids"),
            (([-1], [0, 1], [0], [0, 1]), "source: ids"),
            (([0], [0, 1], [2**32], [0, 1]), "target: ids"),
            (([0], [0, 2], [0], [0, 1]), "source: offsets"),
            (([0], [1, 1], [0], [0, 1]), "source: offsets"),
            (([0], [0, 1], [0, 1], [0, 2, 1, 2]), "target: offsets"),
            (([0], [0, 1], [0], []), r"target: .* offsets \[sentences \+ 1\]"),
            (([[0]], [0, 1], [0], [0, 1]), r"source: .*\[tokens\]"),
            (([0], [0, 1], [0, 1], [0, 1, 2]), "as many target sentences"),
        ],
    )
    def test_arrays_that_do_not_fit(
        self, arrays: tuple[list[int], list[int], list[int], list[int]], words: str
    ) -> None:
        model = Ibm1(3, 2)
        for method in (model.add_pairs, model.expect):
            with pytest.raises(ValueError, match=words):
                method(*(np.array(values, np.int64) for values in arrays))

    def test_steps_in_the_wrong_order(self) -> None:
        model = Ibm1(3, 3)
        offsets, one, two = np.array([0, 1]), np.array([1]), np.array([2])
        with pytest.raises(ValueError, match="expect and maximise first"):
            model.table()
        with pytest.raises(ValueError, match="expect first"):
            model.maximise()
        with pytest.raises(ValueError, match="add_pairs"):
            model.expect(one, offsets, one, offsets)
        model.add_pairs(one, offsets, one, offsets)
        model.add_pairs(two, offsets, two, offsets)
        assert model.num_pairs == 4  # two of them the NULL word's
        model.expect(one, offsets, one, offsets)
        model.maximise()
        with pytest.raises(ValueError, match="all sentences"):
            model.expect(two, offsets, two, offsets)

    @pytest.mark.parametrize("size", [0, -1, 2**31])
    def test_impossible_sizes(self, size: int) -> None:
        for sizes in ((size, 1), (1, size)):
            with pytest.raises(ValueError, match=f"size is {size}"):
                Ibm1(*sizes)


# --- the target side of the tokenizer ----------------------------------------------------------


@pytest.mark.parametrize("separate", [False, True])
def test_target_tokens_are_those_of_transformers(tmp_path: Path, separate: bool) -> None:
    from transformers import MarianTokenizer

    write_tokenizer(tmp_path, separate, (), {})
    files, options = read_tokenizer(tmp_path, 10_000, 10_000)
    ours = tokenizers.create(TokenizerSpec("marian", options), files)
    theirs = MarianTokenizer.from_pretrained(tmp_path)
    for text in ("", "a dog runs quickly.", "the  <unk> blue\tball", "</s>", ">>xx<< ein Hund"):
        tokens = ours.encode_target(text)
        assert [*ours.target_ids(tokens), 0] == theirs(text_target=text).input_ids
    assert ours.encode_target("a dog runs.") != ours.encode("a dog runs.")
    with pytest.raises(TypeError):
        ours.encode_target(None)  # type: ignore[arg-type]


# --- the command -------------------------------------------------------------------------------

GERMAN = ["das Haus", "das Buch", "ein Buch", "", "ein Haus"] * 3
ENGLISH = ["the house", "the book", "a book", "", "a house"] * 3


def read_table(path: Path) -> dict[str, list[tuple[float, str]]]:
    """Probabilities and target tokens of each source token, in the order of the lines."""
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    rows: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for line in text.decode().splitlines():
        target, source, probability = line.split(" ")
        rows[source].append((float(probability), target))
    return rows


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


class TestCommand:
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_tokenized(
        self, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = write_lines(tmp_path / f"de{suffix}", GERMAN)
        target = write_lines(tmp_path / f"en{suffix}", ENGLISH)
        out = tmp_path / f"lex{suffix}"
        arguments = ["shortlist", "--source", source, "--target", target, "--tokenized"]
        assert main([*map(str, arguments), "--iterations", "30", str(out)]) == 0
        table = read_table(out)
        best = {word: rows[0][1] for word, rows in table.items()}
        assert best == {"das": "the", "Haus": "house", "Buch": "book", "ein": "a"}
        assert all(rows == sorted(rows, key=lambda row: -row[0]) for rows in table.values())
        count = sum(map(len, table.values()))
        captured = capsys.readouterr()
        assert captured.out == f"{out}: {count} pairs of tokens\n"
        assert captured.err == ""
        assert len(list(tmp_path.iterdir())) == 3

    def test_tokens_of_a_model_without_its_prefix(self, tmp_path: Path) -> None:
        path = make_marian(tmp_path / "model", languages=("de", "en")).path
        source = write_lines(tmp_path / "de", ["ein Hund läuft", ">>de<< der Hund"])
        target = write_lines(tmp_path / "en", ["a dog runs", "the dog"])
        out = tmp_path / "lex"
        files = ["--source", str(source), "--target", str(target), "--threshold", "0"]
        assert main(["shortlist", *files, "--model", str(path), "--to", "en", str(out)]) == 0
        table = read_table(out)
        tokenizer = open_model(path).tokenizer
        assert set(table) == set(tokenizer.encode("ein Hund läuft") + tokenizer.encode("der Hund"))
        targets = {target for rows in table.values() for _, target in rows}
        assert targets == set(
            tokenizer.encode_target("a dog runs") + tokenizer.encode_target("the dog")
        )

    def assert_refused(
        self, capsys: pytest.CaptureFixture[str], arguments: Sequence[object], *words: str
    ) -> None:
        assert main(["shortlist", *map(str, arguments)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert all(word in lines[0] for word in words), lines[0]

    @pytest.mark.parametrize(
        ("source", "target", "words"),
        [
            (b"a\nb\nc\n", b"x\n", ["de has 3 lines", "en has 1", "as many"]),
            (b"a\n", b"x\ny\n", ["en has 2 lines", "de has 1", "as many"]),
            (b"", b"", ["de", "en", "no line has text on both sides"]),
            (b"\na\n", b"x\n\n", ["no line has text on both sides"]),
            (b"a\nb\xff\n", b"x\ny\n", ["de, line 2", "byte 2", "0xff", "UTF-8"]),
            (b"a\n", b"\xffx\n", ["en, line 1", "byte 1", "UTF-8"]),
            (gzip.compress(b"a\n" * 99, mtime=0)[:-9], b"x\n" * 99, ["de", "gzip"]),
        ],
    )
    def test_damaged_text(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        source: bytes,
        target: bytes,
        words: list[str],
    ) -> None:
        (tmp_path / "de").write_bytes(source)
        (tmp_path / "en").write_bytes(target)
        files = ["--source", tmp_path / "de", "--target", tmp_path / "en", "--tokenized"]
        self.assert_refused(capsys, [*files, tmp_path / "lex"], *words)
        assert len(list(tmp_path.iterdir())) == 2

    def test_wrong_arguments(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source, out = write_lines(tmp_path / "de", GERMAN), tmp_path / "lex"
        files = ["--source", source, "--target", source]
        refused = self.assert_refused
        refused(capsys, [*files, "--tokenized", "--model", "x", out], "--tokenized", "--model")
        refused(capsys, [*files, "--iterations", "0", out], "--iterations", "'0'", "1 to 1000")
        refused(capsys, [*files, "--threshold", "nan", out], "--threshold", "'nan'", "0 to 1")
        refused(capsys, [*files, "--tokenized", tmp_path], str(tmp_path), "name of a file")
        refused(capsys, [*files, "--tokenized", tmp_path / "no" / "lex"], "no such directory")
        refused(capsys, [*files, "--tokenized", source], "is an input too")
        refused(capsys, ["--source", out, "--target", source, "--tokenized", out], str(out))
        refused(capsys, [*files, "--model", tmp_path / "none", out], "none")
        path = make_marian(tmp_path / "model", languages=("de", "en")).path
        capsys.readouterr()  # transformers draws bars
        refused(capsys, [*files, "--model", path, "--to", "xx", out], "'xx'", "de, en")
        assert not out.exists()
        assert source.read_text().splitlines() == GERMAN


def test_multi30k(shared_data: Path, tmp_path: Path) -> None:
    """The bundled model's tokens: words find their translations."""
    german, english = corpus(shared_data, "multi30k/train", 4000)
    source = write_lines(tmp_path / "de.gz", german)
    target = write_lines(tmp_path / "en.gz", english)
    out = tmp_path / "lex.gz"
    files = ["--source", str(source), "--target", str(target)]
    model = ["--model", str(bundled_model()), "--from", "de", "--to", "en"]
    assert main(["shortlist", *files, *model, str(out)]) == 0
    table = read_table(out)
    for word, translation in {
        "▁Hund": "▁dog",
        "▁Frau": "▁woman",
        "▁Schnee": "▁snow",
        "▁zwei": "▁two",
        "▁und": "▁and",
    }.items():
        assert table[word][0][1] == translation


def test_stub_agrees_with_the_extension(tmp_path: Path) -> None:
    # mypy finds a package in site-packages by itself, but not one behind an editable install.
    package = Path(pytransformer.__file__).parent
    beside = "" if "site-packages" in package.parts else str(package.parent)
    allowlist = tmp_path / "allowlist"
    # What Cython adds of its own.
    allowlist.write_text(".*__(reduce|setstate)_cython__\n.*__test__\n")
    command = ["-m", "mypy.stubtest", "--ignore-unused-allowlist", "--allowlist", str(allowlist)]
    result = subprocess.run(
        [sys.executable, *command, "pytransformer._ibm1"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": beside},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
