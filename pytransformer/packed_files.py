"""Files that may be gzipped, by their first bytes."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from pytransformer.errors import CheckpointError, OptionError

_GZIP_MAGIC = b"\x1f\x8b"


@contextlib.contextmanager
def open_unpacked(
    path: str | os.PathLike[str], fault: type[CheckpointError | OptionError]
) -> Iterator[BinaryIO]:
    """Opens a file for reading, and unpacks it while it is read if it is gzipped.

    Raises:
        fault: what is packed is damaged or cut short; names the file.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        if not packed:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("BinaryIO", unpacked)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise fault(
                f"{os.fsdecode(path)}: damaged or cut short as a gzip file: {error}"
            ) from None
