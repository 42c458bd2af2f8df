"""Files that a command writes when its work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pytransformer.errors import OptionError


def check_output(path: str, inputs: Iterable[str] = ()) -> None:
    """Makes sure, as far as can be known, that a file can be written at the end, over no input."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise OptionError(f"{path}: is a directory, expected the name of a file")
    if not os.path.isdir(folder):
        raise OptionError(f"{folder}: no such directory")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise OptionError(f"{path}: not writable")
    for other in inputs:
        if os.path.exists(path) and os.path.samefile(other, path):
            raise OptionError(f"{path}: is an input too; writing would destroy it")
