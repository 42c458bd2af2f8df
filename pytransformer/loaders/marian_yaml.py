"""Reads the small part of YAML that Marian writes: flat settings, and vocabularies.

Settings are `key: value` at the margin; a value is a scalar or a list of scalars, in brackets or
one a line. Vocabularies are `token: id`, one a line, or JSON. What else YAML knows (nested maps,
anchors, aliases, tags, directives, text over several lines) is refused by name. Every line is read
once, and nothing in it is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings, parse_json

Scalar: TypeAlias = str | int | float | bool | None

# Marian's settings take some kilobytes, its largest vocabularies some megabytes.
MAX_SETTINGS_BYTES = 1 << 18
MAX_VOCABULARY_BYTES = 1 << 26
MAX_TOKENS = 1 << 21

# No pattern may look at a character more than a few times, whatever stands before or behind it.
_KEY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-]*)[ \t]*:(?:[ \t]+(.*))?$")
_ITEM = re.compile(r"[ \t]*-(?:[ \t]+(.*))?$")
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')[ \t]*(.*)$""")
_LIST_PART = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,"'\[\]{}]+)|,""")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}\.?[0-9]{0,30})(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_REFUSED = {
    "&": "an anchor",
    "*": "an alias",
    "!": "a tag",
    "%": "a directive",
    "|": "text over several lines",
    ">": "text over several lines",
    "{": "a nested map",
    "?": "a long key",
    "@": "a reserved character",
    "`": "a reserved character",
}

_ID = re.compile(r"[ \t]+([0-9]{1,9})$")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r",
    "e": "\x1b", " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0",
    "L": "\u2028", "P": "\u2029",
}  # fmt: skip
# Marian's YAML writer spends a byte too much on three characters, which makes them invalid UTF-8.
_OVERLONG = {
    b"\xc1\xbf": b"\x7f",
    b"\xe0\x9f\xbf": b"\xdf\xbf",
    b"\xf0\x8f\xbf\xbf": b"\xef\xbf\xbf",
}


class _FaultError(ValueError):
    """What cannot be read in a line."""


def read_settings(path: Path) -> Settings:
    """Reads a file of settings; raises CheckpointError that names it and the line."""
    return parse_settings(_read(path, MAX_SETTINGS_BYTES, "settings"), path)


def parse_settings(content: bytes, path: Path) -> Settings:
    """As :func:`read_settings`, from the bytes; `path` names them in errors."""
    values: dict[str, Scalar | list[Scalar]] = {}
    key = ""
    for number, line in _lines(content, path):
        try:
            key = _take_line(values, key, line)
        except _FaultError as fault:
            raise CheckpointError(
                f"{path}, line {number}: {fault}; expected `key: value`, the value a number, a "
                "word, text or a list of these"
            ) from None
    return Settings(values, path)


def _take_line(values: dict[str, Scalar | list[Scalar]], key: str, line: str) -> str:
    """Adds a line to the settings and gives the key to which the next line may belong."""
    if item := _ITEM.match(line):
        listed = values.get(key)
        if listed is None and key:
            listed = values[key] = []
        if not isinstance(listed, list):
            raise _FaultError("an item without a list")
        listed.append(_scalar(item[1] or ""))
        return key
    if line[0] in " \t":
        if not key or values[key] is not None:
            raise _FaultError("a nested value")
        values[key] = _value(line.strip())
        return ""
    found = _KEY.match(line)
    if not found:
        raise _FaultError(_REFUSED.get(line[0], f"{line[:40]!r} is no setting"))
    if found[1] in values:
        raise _FaultError(f"{found[1]} is set twice")
    text = (found[2] or "").strip()
    values[found[1]] = _value(text)
    return "" if text else found[1]  # a value may follow in the next lines


def _value(text: str) -> Scalar | list[Scalar]:
    if not text.startswith("["):
        return _scalar(text)
    text = _COMMENT.sub("", text).rstrip()
    if len(text) < 2 or not text.endswith("]"):
        raise _FaultError("a list that does not end in its line")
    items, position = [""], 1
    while position < len(text) - 1:
        found = _LIST_PART.match(text, position, len(text) - 1)
        if not found:
            raise _FaultError("a list of more than scalars")
        if found[1] is None:
            items.append("")
        else:
            items[-1] += found[1]
        position = found.end()
    if not items[-1].strip():
        items.pop()  # an empty list, or a comma at the end
    return [_scalar(item.strip()) for item in items]


def _scalar(text: str) -> Scalar:
    if text[:1] in ("'", '"'):
        quoted = _QUOTED.match(text)
        if not quoted or _COMMENT.sub("", quoted[2]):
            raise _FaultError("text whose quotation mark does not end it")
        return _unquoted(quoted[1])
    plain = _COMMENT.sub("", text).rstrip()
    if plain[:1] in _REFUSED or plain.startswith("["):
        raise _FaultError(_REFUSED.get(plain[:1], "a list in a list"))
    if ": " in plain or plain.endswith(":") or plain.startswith("- "):
        raise _FaultError("a nested value")
    if plain in _WORDS:
        return _WORDS[plain]
    if _INTEGER.fullmatch(plain):
        return int(plain)
    return float(plain) if _FLOAT.fullmatch(plain) else plain


def read_vocabulary(path: Path) -> dict[str, int]:
    """Reads a vocabulary, ids by token; raises CheckpointError that names the file and the line.

    Several tokens may have one id, and ids may be missing: that is for the caller to judge.
    """
    content = _read(path, MAX_VOCABULARY_BYTES, "a vocabulary")
    if content.lstrip()[:1] == b"{":
        vocabulary = parse_json(content, path)
        if not all(type(item) is int and item >= 0 for item in vocabulary.values()):
            raise CheckpointError(f"{path}: not a map of tokens to ids")
        return dict(vocabulary)
    tokens: dict[str, int] = {}
    for number, line in _lines(content, path):
        try:
            token, token_id = _entry(line)
            if token in tokens:
                raise _FaultError(f"token {token[:40]!r} stands there twice")
        except _FaultError as fault:
            raise CheckpointError(f"{path}, line {number}: {fault}; expected `token: id`") from None
        tokens[token] = token_id
        if len(tokens) > MAX_TOKENS:
            raise CheckpointError(f"{path}: more than {MAX_TOKENS} tokens are no vocabulary")
    return tokens


def _entry(line: str) -> tuple[str, int]:
    fault = _FaultError(f"{line[:40]!r} is no token with its id")
    token, _, rest = line.rpartition(":")
    token, found = token.rstrip(" \t"), _ID.match(rest)
    if not found or not token:
        raise fault
    if token[0] in ("'", '"'):
        quoted = _QUOTED.match(token)
        if not quoted or quoted[2]:
            raise _FaultError("text whose quotation mark does not end it")
        return _unquoted(token), int(found[1])
    # YAML would read more into these, and Marian quotes the tokens that hold them.
    if token[0] in _REFUSED and not (token[0] == "?" and token[1:2] not in (" ", "\t")):
        raise _FaultError(_REFUSED[token[0]])
    if token[0] in " \t[]{},#" or token.startswith("- ") or ": " in token or " #" in token:
        raise fault
    return token, int(found[1])


def _unquoted(text: str) -> str:
    """The text between quotation marks."""
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return _ESCAPE.sub(_escaped, text[1:-1])


def _escaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code is None:
        if found[4] not in _ESCAPES:
            raise _FaultError(f"the unknown escape sequence {found[0]!r}")
        return _ESCAPES[found[4]]
    value = int(code, 16)
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        raise _FaultError(f"{found[0]!r}, which is no character")
    return chr(value)


def _read(path: Path, limit: int, what: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CheckpointError(f"{path}: more than {limit} bytes are no file of {what}")
    return content


def _lines(content: bytes, path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and lines, without those that say nothing."""
    for overlong, right in _OVERLONG.items():
        content = content.replace(overlong, right)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: byte {error.start} is not UTF-8 text; expected YAML in UTF-8"
        ) from None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip(" \t\r")
        if line and not line.lstrip(" \t").startswith("#") and line not in ("---", "..."):
            yield number, line
