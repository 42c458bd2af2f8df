"""Glossaries as files: a term and its translation in each line, with a tab between them."""

from __future__ import annotations

from pytransformer.errors import OptionError


def read_glossary(path: str) -> dict[str, str]:
    """Reads UTF-8 lines ``source<TAB>target``; empty lines are skipped.

    Raises:
        OSError: the file cannot be read.
        OptionError: a line is not UTF-8, is no such pair, or contradicts an earlier one; names it.
    """
    terms: dict[str, str] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            pair = _pair(line, where)
            if pair is None:
                continue
            source, target = pair
            if terms.setdefault(source, target) != target:
                raise OptionError(
                    f"{where}: {source!r} is {target!r} here, but {terms[source]!r} before"
                )
    return terms


def _pair(line: bytes, where: str) -> tuple[str, str] | None:
    try:
        # Some editors begin a file with a byte order mark.
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{where}: byte {error.start + 1} of the line, 0x{line[error.start]:02x}, is not UTF-8 "
            "text"
        ) from None
    fields = [field.strip() for field in text.strip("\r\n").split("\t")]
    if not any(fields):
        return None
    if len(fields) != 2 or not all(fields):
        raise OptionError(f"{where}: expected a term, a tab and its translation")
    return fields[0], fields[1]
