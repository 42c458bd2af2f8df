"""The reader of the YAML that Marian writes."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mutations import damaged, refused, rewritten
from pytransformer.errors import CheckpointError
from pytransformer.loaders.marian_yaml import parse_settings, read_settings, read_vocabulary

HERE = Path("here.yml")


def values_of(content: str) -> dict[str, Any]:
    return dict(parse_settings(content.encode(), HERE).values)


def test_settings_as_marian_writes_them() -> None:
    content = """\
---
# Marian configuration file generated at ...
dim-emb: 512
lr-decay-start:
  - 10
  - 1
optimizer-params: [0.9, 0.98, 1e-09]
input-types:
  []
empty:
normalize: -0.6
transformer-postprocess: ""
transformer-preprocess: n   # as in Marian
separator-symbol: "[eos]"
tied-embeddings-all: true
after: 0e
version: v1.12.42 b7be0e964 2025-05-24 22:34:42 -0700
models: [ "a, b.npz" , 'it''s', c ]
shortlist: [lex.bin, false]
vocabs:
- /home/x/vocab.spm
- c:\\x\\vocab.spm
path: /a:b#c
"""
    assert values_of(content) == {
        "dim-emb": 512,
        "lr-decay-start": [10, 1],
        "optimizer-params": [0.9, 0.98, 1e-09],
        "input-types": [],
        "empty": None,
        "normalize": -0.6,
        "transformer-postprocess": "",
        "transformer-preprocess": "n",
        "separator-symbol": "[eos]",
        "tied-embeddings-all": True,
        "after": "0e",
        "version": "v1.12.42 b7be0e964 2025-05-24 22:34:42 -0700",
        "models": ["a, b.npz", "it's", "c"],
        "shortlist": ["lex.bin", False],
        "vocabs": ["/home/x/vocab.spm", "c:\\x\\vocab.spm"],
        "path": "/a:b#c",
    }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a: &x 1", "line 1: an anchor"),
        ("a: 1\nb: *x", "line 2: an alias"),
        ("a: !!python/object:os.system 1", "a tag"),
        ("%YAML 1.2", "a directive"),
        ("a: |\n  text", "text over several lines"),
        ("a: >-\n  text", "text over several lines"),
        ("a: {b: 1}", "a nested map"),
        ("a:\n  b: 1", "a nested value"),
        ("a:\n  - b: 1", "a nested value"),
        ("a:\n  - - 1", "a nested value"),
        ("a: b: c", "a nested value"),
        ("a: 1\n  b", "a nested value"),
        ("a: [1, [2]]", "a list of more than scalars"),
        ("a: [1, {b: 2}]", "a list of more than scalars"),
        ("a: [1,\n  2]", "a list that does not end"),
        ("a: [", "a list that does not end"),
        ('a: "b', "quotation mark"),
        ('a: "b" c', "quotation mark"),
        ("a: 'b", "quotation mark"),
        (r'a: "\q"', "escape sequence"),
        (r'a: "\ud800"', "no character"),
        (r'a: "\UFFFFFFFF"', "no character"),
        ("a: 1\na: 2", "line 2: a is set twice"),
        ("- a", "an item without a list"),
        ("a: 1\n- b", "an item without a list"),
        ("a", "'a' is no setting"),
        ("? a\n: b", "a long key"),
        ("<<: *x", "no setting"),
        ("[a]: 1", "no setting"),
    ],
)
def test_what_marian_does_not_write(content: str, fault: str) -> None:
    with pytest.raises(CheckpointError, match=f"here.yml, .*{fault}.*expected `key: value`"):
        values_of(content)


def test_settings_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"here\.yml: byte 3 is not UTF-8"):
        parse_settings(b"a: \xff", HERE)
    path = tmp_path / "x.yml"
    path.write_bytes(b"#" * (1 << 19))
    with pytest.raises(CheckpointError, match=r"x\.yml: more than 262144 bytes"):
        read_settings(path)


@pytest.mark.parametrize("part", ['"\\"', "[", "'", '"', " ", ",", "#", " #", "9", "-", "a:", "\\"])
@pytest.mark.parametrize("start", ["a: ", "a: [", 'a: "', ""])
def test_no_line_takes_long(start: str, part: str) -> None:
    """Hours, if a pattern looked at every character again and again."""
    content = start + part * (200_000 // len(part)) + "!"
    with contextlib.suppress(CheckpointError):
        values_of(content)


def test_damaged_settings(tmp_path: Path) -> None:
    sound = 'a: 1\nb:\n  - 0.5\n  - x y\nc: [1, "d\\u0041", \'e\']\nd: ""\ne: true\nf:\n  []\n# g\n'
    files = rewritten(tmp_path / "x.yml", damaged(sound.encode(), 2500))
    assert 500 < sum(refused(read_settings, path) for path in files) < 2500


def vocabulary(path: Path, content: str | bytes) -> dict[str, int]:
    data = content.encode() if isinstance(content, str) else content
    (path / "vocab.yml").write_bytes(data)
    return read_vocabulary(path / "vocab.yml")


TOKENS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)


@given(st.lists(TOKENS, unique=True, min_size=1, max_size=30))
def test_vocabulary_of_any_tokens(tokens: list[str]) -> None:
    """As PyYAML writes it, with each kind of quotation mark that can hold a token in one line."""
    for mark in ('"', "'"):
        kept = [token for token in tokens if mark == '"' or token.isprintable()]
        written = "".join(
            yaml.dump(token, default_style=mark, allow_unicode=True, width=10**9).strip("\n")
            + f": {i}\n"
            for i, token in enumerate(kept)
        )
        with tempfile.TemporaryDirectory() as folder:
            assert vocabulary(Path(folder), written) == {token: i for i, token in enumerate(kept)}


# Other lines' ends of YAML 1.1; Marian's reader knows none of them.
@given(TOKENS.filter(lambda token: not set(token) & set("\r\x85\u2028\u2029")))
def test_tokens_without_quotation_marks(token: str) -> None:
    """What YAML takes for a token, and another reader too, is that token."""
    line = f"{token}: 7\n"
    try:
        known = yaml.safe_load(line)
    except yaml.YAMLError:
        known = None
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(CheckpointError):
        found = vocabulary(Path(folder), line)
        if isinstance(known, dict) and all(isinstance(key, str) for key in known):
            assert found == known


def test_vocabulary_as_marian_writes_it(tmp_path: Path) -> None:
    content = (
        '</s>: 0\n<unk>: 1\n",": 2\n\'-\': 3\n"\\"": 4\n▁: 5\n"\\xa0x": 6\n?: 7\n?x: 8\na:b: 9\n'
        '12: 10\n"~": 11\n\'it\'\'s\': 12\n">>de<<": 13\n"\xc1\xbf": 14\n-x: 15\n'
    )
    # Marian's writer makes invalid UTF-8 of U+007F.
    data = content.encode().replace("\xc1\xbf".encode(), b"\xc1\xbf")
    tokens = ["</s>", "<unk>", ",", "-", '"', "▁", "\xa0x", "?", "?x", "a:b", "12", "~", "it's"]
    tokens += [">>de<<", "\x7f", "-x"]
    assert vocabulary(tmp_path, data) == {token: i for i, token in enumerate(tokens)}


def test_vocabulary_in_json(tmp_path: Path) -> None:
    assert vocabulary(tmp_path, '\n{"eos": 0, "\\u00f6": 2,\n"a": 3}') == {"eos": 0, "ö": 2, "a": 3}
    for content in ('{"a": -1}', '{"a": true}', '{"a": "0"}', '{"a": [0]}'):
        with pytest.raises(CheckpointError, match=r"vocab\.yml: not a map of tokens to ids"):
            vocabulary(tmp_path, content)
    with pytest.raises(CheckpointError, match=r"vocab\.yml: broken JSON"):
        vocabulary(tmp_path, '{"a": ')


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a: 0\nb", "line 2: 'b' is no token with its id"),
        ("a: x", "no token with its id"),
        ("a: -1", "no token with its id"),
        ("a:1", "no token with its id"),
        (": 1", "no token with its id"),
        ("a: 99999999999999999999", "no token with its id"),
        ("a: 0\na: 1", "line 2: token 'a' stands there twice"),
        ('"a": 0\na: 1', "twice"),
        ("  a: 0", "no token with its id"),
        ("- a: 0", "no token with its id"),
        ("a: b: 0", "no token with its id"),
        ("a #b: 0", "no token with its id"),
        ("&a: 0", "an anchor"),
        ("*a : 0", "an alias"),
        ("!a: 0", "a tag"),
        ("? a: 0", "a long key"),
        ("[a]: 0", "no token with its id"),
        ('"a: 0', "quotation mark"),
        ('"a"b: 0', "quotation mark"),
        ('"\\q": 0', "escape sequence"),
    ],
)
def test_broken_vocabulary(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"vocab\.yml, .*{fault}"):
        vocabulary(tmp_path, content)


def test_damaged_vocabulary(tmp_path: Path) -> None:
    sound = '</s>: 0\n"\\u2581": 1\n\'it\'\'s\': 2\na: 3\n"\\"": 4\nö: 5\n'
    files = rewritten(tmp_path / "vocab.yml", damaged(sound.encode(), 2500))
    assert 500 < sum(refused(read_vocabulary, path) for path in files) < 2500
