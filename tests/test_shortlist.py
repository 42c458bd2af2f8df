"""Lexical shortlists: Marian's two file forms, its choice of tokens, and files that are damaged."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.shortlist import LexicalShortlist, write_text

SIZE = 40
MAGIC = 0xF11A48D5013417F5


def token_id(token: str) -> int | None:
    """Tokens of the made-up vocabulary are `w0`, `w1` and so on; no others are known."""
    return int(token[1:]) if token.startswith("w") else None


def load(path: Path, *, size: int = SIZE, first: int = 4, best: int = 3) -> LexicalShortlist:
    return LexicalShortlist.load(
        path, token_id, token_id, source_size=size, target_size=size, first=first, best=best
    )


def load_text(path: Path, text: str, **sizes: int) -> LexicalShortlist:
    path.write_text(text, encoding="utf-8", newline="")
    return load(path, **sizes)


def lists(shortlist: LexicalShortlist) -> dict[int, list[int]]:
    """The target ids of each source id that has any."""
    bounds = shortlist.offsets.tolist()
    found = {
        source: shortlist.targets[begin:end].tolist()
        for source, (begin, end) in enumerate(itertools.pairwise(bounds))
    }
    return {source: targets for source, targets in found.items() if targets}


# --- definitions to compare with ---------------------------------------------------------------


def best_targets(entries: Iterable[tuple[int, int, float]], best: int) -> dict[int, list[int]]:
    """What Marian keeps of `target, source, probability`, in plain Python."""
    table: dict[int, dict[int, float]] = {}
    for target, source, probability in entries:
        row = table.setdefault(source, {})
        (rounded,) = struct.unpack("f", struct.pack("f", probability))
        row[target] = max(rounded, row.get(target, 0.0))
    return {
        source: sorted(sorted(row, key=lambda t: (row[t], t), reverse=True)[:best])
        for source, row in table.items()
        if best
    }


def selection(
    table: Mapping[int, Sequence[int]], source: Sequence[int], first: int, size: int, shared: bool
) -> list[int]:
    """What Marian selects for one sentence, in plain Python."""
    chosen = set(range(min(first, size)))
    for token in source:
        chosen |= set(table.get(token, ()))
        if shared:
            chosen.add(token)
    following = first
    while len(chosen) % 8 and following < size:
        chosen.add(following)
        following += 1
    return sorted(chosen)


def checksum(words: Iterable[int]) -> int:
    state = 0
    for word in words:
        state ^= (word + 0x9E3779B9 + (state << 6) + (state >> 2)) % 2**64
    return state


def binary(
    table: Mapping[int, Sequence[int]],
    *,
    size: int = SIZE,
    first: int = 4,
    best: int = 3,
    offsets: Sequence[int] | None = None,
) -> bytes:
    """Marian's binary form, with a true checksum whatever it holds."""
    rows = [list(table.get(source, ())) for source in range(size)]
    ids = [target for row in rows for target in row]
    if offsets is None:
        offsets = [sum(map(len, rows[:source])) for source in range(size + 1)]
    body = struct.pack(f"<4Q{len(offsets)}Q", first, best, len(offsets), len(ids), *offsets)
    body += struct.pack(f"<{len(ids)}I", *ids)
    words = struct.unpack_from(f"<{len(body) // 8}Q", body)
    return struct.pack("<2Q", MAGIC, checksum(words)) + body


# --- Marian's own files ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ssru(shared_data: Path) -> Path:
    """A model of Marian's with both forms of its shortlist."""
    folder = shared_data.parent / "models" / "marian" / "ssru"
    if not (folder / "lex.50.50.bin").is_file():
        pytest.skip(f"no shortlists of Marian's at {folder}")
    return folder


class TestMariansFiles:
    def load(self, folder: Path, name: str) -> tuple[LexicalShortlist, Callable[[str], list[int]]]:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "vocab.spm"))
        size = pieces.get_piece_size()
        shortlist = LexicalShortlist.load(
            folder / name,
            pieces.piece_to_id,
            pieces.piece_to_id,
            source_size=size,
            target_size=size,
            first=50,
            best=50,
        )
        return shortlist, lambda text: [*pieces.encode(text), 0]

    def test_text_and_binary_say_the_same(self, ssru: Path) -> None:
        text, _ = self.load(ssru, "lex.s2t.gz")
        packed, _ = self.load(ssru, "lex.50.50.bin")
        assert (packed.first, packed.best) == (50, 50)
        assert np.array_equal(text.offsets, packed.offsets)
        assert np.array_equal(text.targets, packed.targets)

    def test_selection(self, ssru: Path) -> None:
        shortlist, encode = self.load(ssru, "lex.50.50.bin")
        table, size = lists(shortlist), shortlist.target_size
        for line in (ssru / "source.txt").read_text(encoding="utf-8").splitlines():
            source = encode(line)
            for shared in (False, True):
                chosen = shortlist.tokens(source, shared_vocabulary=shared)
                assert chosen == selection(table, source, 50, size, shared)
                assert len(chosen) % 8 == 0


# --- the text form -----------------------------------------------------------------------------

# What Marian 1.12.42 makes of these lines (`pymarian convert --shortlist FILE 4 BEST 0`): of equal
# probabilities the highest id comes first, and a probability of 0 counts.
TIES = "w9 w1 0.5\nw3 w1 0.5\nw7 w1 0.5\nw2 w1 0.25\nw4 w1 0.25\nw8 w1 0\nw8 w5 0.1\nw6 w5 0.2\n"


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (0, {}),
        (1, {1: [9], 5: [6]}),
        (2, {1: [7, 9], 5: [6, 8]}),
        (4, {1: [3, 4, 7, 9], 5: [6, 8]}),
        (10, {1: [2, 3, 4, 7, 8, 9], 5: [6, 8]}),
    ],
)
def test_best_of_equal_ones(tmp_path: Path, best: int, expected: dict[int, list[int]]) -> None:
    assert lists(load_text(tmp_path / "lex", TIES, best=best)) == expected


def test_null_and_unknown_tokens_are_skipped(tmp_path: Path) -> None:
    text = "NULL w1 0.9\nw2 NULL 0.9\nw3 w1 0.1\nother w1 0.9\nw3 other 0.9\n"
    assert lists(load_text(tmp_path / "lex", text)) == {1: [3]}


def test_pair_in_several_lines_has_its_highest_probability(tmp_path: Path) -> None:
    text = "w3 w1 0.4\nw2 w1 0.3\nw3 w1 0.1\n"
    assert lists(load_text(tmp_path / "lex", text, best=1)) == {1: [3]}


def test_fields_are_separated_as_c_does_it(tmp_path: Path) -> None:
    known = {"a\u00a0b": 5, "\u2028": 6}
    path = tmp_path / "lex"
    path.write_text("a\u00a0b\t \u2028   1e-3\r\n\n  \n\u2028 a\u00a0b 1", encoding="utf-8")
    sizes = {"source_size": SIZE, "target_size": SIZE}
    assert lists(LexicalShortlist.load(path, known.get, known.get, **sizes)) == {5: [6], 6: [5]}


def test_probabilities_have_marians_precision(tmp_path: Path) -> None:
    text = "w3 w1 0.10000000001\nw4 w1 0.1\n"
    assert lists(load_text(tmp_path / "lex", text, best=1)) == {1: [4]}


def test_it_cannot_be_changed(tmp_path: Path) -> None:
    for content in (TIES.encode(), binary({1: [2]})):
        (tmp_path / "lex").write_bytes(content)
        shortlist = load(tmp_path / "lex")
        with pytest.raises(dataclasses.FrozenInstanceError):
            shortlist.first = 3  # type: ignore[misc]
        for values in (shortlist.offsets, shortlist.targets):
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 1


token_ids = st.integers(0, SIZE - 1)
# Few values, for the sake of ties, or any that six digits hold.
probabilities = st.sampled_from([0.0, 1e-6, 0.1, 0.25, 1.0]) | st.floats(0, 1).map(
    lambda value: round(value, 6)
)
tables = st.lists(st.tuples(token_ids, token_ids, probabilities), min_size=1, max_size=60)


@given(
    tables,
    st.integers(0, 12),
    st.integers(0, SIZE + 3),
    st.lists(token_ids, max_size=6),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[int, int, float]],
    best: int,
    first: int,
    source: list[int],
    shared: bool,
    packed: bool,
) -> None:
    """Text written, read, and written in the binary form: the same lists, the same choice."""
    folder = tmp_path_factory.mktemp("shortlist")
    path = folder / ("lex.gz" if packed else "lex")
    lines = [(f"w{target}", f"w{source}", p) for target, source, p in entries]
    assert write_text(path, lines) == len(lines)
    expected = best_targets(entries, best)
    text = load(path, first=first, best=best)
    assert lists(text) == expected
    content = binary(expected, first=first, best=best)
    path.write_bytes(gzip.compress(content) if packed else content)
    again = load(path, first=0, best=0)
    assert (again.first, again.best, lists(again)) == (first, best, expected)
    chosen = selection(expected, source, first, SIZE, shared)
    for shortlist in (text, again):
        assert shortlist.tokens(source, shared_vocabulary=shared) == chosen


# --- writing -----------------------------------------------------------------------------------


def test_written_text(tmp_path: Path) -> None:
    path = tmp_path / "lex.s2t"
    entries = [("ä", "b", 0.5), ("NULL", "b", 0.1), ("a", "x y", 0.1), ("", "b", 1), ("a", "b", 1)]
    entries += [("a\u00a0b", "b", 1 / 3)]
    assert write_text(path, entries) == 3
    assert path.read_text(encoding="utf-8") == "ä b 0.5\na b 1\na\u00a0b b 0.333333\n"


def test_compressed_by_its_name_and_always_the_same(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        assert write_text(tmp_path / name, [("a", "b", 0.5)]) == 1
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"a b 0.5\n"


def test_nothing_is_left_half_written(tmp_path: Path) -> None:
    def entries() -> Iterable[tuple[str, str, float]]:
        yield "a", "b", 0.5
        raise RuntimeError

    for name in ("lex", "lex.gz"):
        (tmp_path / name).write_bytes(b"older")
        with pytest.raises(RuntimeError):
            write_text(tmp_path / name, entries())
        assert (tmp_path / name).read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 2


# --- selection ---------------------------------------------------------------------------------


def test_no_more_tokens_than_the_vocabulary_has(tmp_path: Path) -> None:
    shortlist = load_text(tmp_path / "lex", "w2 w1 0.5\n", size=5, first=9)
    assert shortlist.tokens([1], shared_vocabulary=False) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("token", [-1, SIZE])
def test_source_id_that_is_none(tmp_path: Path, token: int) -> None:
    shortlist = load_text(tmp_path / "lex", TIES)
    with pytest.raises(OptionError, match=rf"{token}: expected one from 0 to {SIZE - 1}"):
        shortlist.tokens([1, token], shared_vocabulary=True)


@pytest.mark.parametrize("option", ["first", "best"])
def test_negative_counts(tmp_path: Path, option: str) -> None:
    with pytest.raises(OptionError, match=rf"{option} is -1"):
        load_text(tmp_path / "lex", TIES, **{option: -1})


# --- damaged files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["holds no pair"]),
        (b"\n \n", ["holds no pair"]),
        (b"NULL NULL 1\nx y 0.5\n", ["holds no pair", "target source probability"]),
        (b"w1 w2 0.5\nw1 w2\n", ["line 2", "2 fields"]),
        (b"w1 w2 0.5 0.5\n", ["line 1", "4 fields"]),
        (b"w1 w2 nan\n", ["line 1", "'nan'", "0 to 1"]),
        (b"w1 w2 inf\n", ["line 1", "'inf'", "0 to 1"]),
        (b"w1 w2 1.5\n", ["line 1", "'1.5'", "0 to 1"]),
        (b"w1 w2 -0.1\n", ["line 1", "'-0.1'", "0 to 1"]),
        (b"w1 w2 \xff\n", ["line 1", "0 to 1"]),
        (b"w1 w2 half\n", ["line 1", "'half'", "0 to 1"]),
        (b"w40 w2 0.5\n", ["line 1", "target", "'w40'", "below 40"]),
        (b"w1 w40 0.5\n", ["line 1", "source", "'w40'", "below 40"]),
        (b"w-1 w2 0.5\n", ["line 1", "'w-1'"]),
        (b"w\xe4 w2 0.5\n", ["line 1", "0xe4", "UTF-8"]),
        ("w1 w2 0.5\n".encode("utf-16"), ["line 1", "0xff", "UTF-8"]),
        (b"w1" * 40_000, ["line 1", "longer"]),
        (gzip.compress(TIES.encode(), mtime=0)[:-12], ["gzip"]),
        (gzip.compress(TIES.encode(), mtime=0)[:-4] + b"abcd", ["gzip"]),
        (b"\x1f\x8bno more", ["gzip"]),
    ],
    ids=lambda value: ascii(value)[:30],
)  # fmt: skip
def test_damaged_text(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "lex.s2t"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert all(word in str(error.value) for word in words), error.value


TABLE = {1: [2, 3], 4: [1, 2, 39], 39: [0]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (binary({1: [2]}, size=SIZE + 1), ["41 tokens", "expected 40"]),
        (binary({1: [40]}), ["target id 40", "below 40"]),
        (binary({1: [2**32 - 1]}), ["target id 4294967295"]),
        (binary(TABLE, offsets=[0] * SIZE + [5]), ["offsets", "0 to 6"]),
        (binary(TABLE, offsets=[1, *[6] * SIZE]), ["offsets"]),
        (binary(TABLE, offsets=[0, 5, 4, *[6] * (SIZE - 2)]), ["offsets"]),
        (binary(TABLE, offsets=[0, 2**63, *[6] * (SIZE - 1)]), ["offsets"]),
        (binary(TABLE) + b"\0", ["too long"]),
        (gzip.compress(binary(TABLE), mtime=0)[:-9], ["gzip"]),
    ],
    ids=lambda value: ascii(value)[:20] if isinstance(value, list) else "",
)  # fmt: skip
def test_damaged_binary(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "lex.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert all(word in str(error.value) for word in words), error.value


def test_every_cut_and_every_wrong_byte_is_found(tmp_path: Path) -> None:
    content = binary(TABLE)
    path = tmp_path / "lex.bin"
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(CheckpointError, match=r"lex\.bin"):
            load(path)
    # The checksum counts whole words of 64 bits; here they leave nothing over.
    assert len(content) % 8 == 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match=r"lex\.bin"):
            load(path)


def test_promise_of_endless_content_costs_no_memory(tmp_path: Path) -> None:
    header = struct.pack("<6Q", MAGIC, 0, 4, 3, SIZE + 1, 2**62)
    for content in (header, gzip.compress(header)):
        (tmp_path / "lex.bin").write_bytes(content)
        with pytest.raises(CheckpointError, match="cut short"):
            load(tmp_path / "lex.bin")


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
