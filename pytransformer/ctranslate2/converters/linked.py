"""Files from several places, seen as if they lay in one directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def linked_files(files: Mapping[str, str]) -> Iterator[Path]:
    """A directory with links to files, by the name that each gets there."""
    with tempfile.TemporaryDirectory(prefix="pytransformer-") as directory:
        for name, path in files.items():
            os.symlink(os.path.abspath(path), os.path.join(directory, name))
        yield Path(directory)


def files_in(directory: str) -> dict[str, str]:
    """The plain files of a directory by name."""
    return {item.name: item.path for item in os.scandir(directory) if item.is_file()}
