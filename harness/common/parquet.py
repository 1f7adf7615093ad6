"""Parquet files, opened so that pyarrow alone holds what it reads.

pyarrow's threads free their last buffers whenever they come to it. If those belong to a stream of Python's, a thread
that is late needs the interpreter, and where that has ended, the process aborts after its work is done (exit code 134,
"terminate called without an active exception"; github.com/apache/arrow/issues/34314). Buffers of a file that pyarrow
opened itself need no interpreter. Paths are given as bytes, since pyarrow takes no text that is not UTF-8.

Not here: whether a file's content fits in memory (`harness.common.unpacking`), or what a damaged file means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def open_table(file: Path, **options: Any) -> Iterator[Any]:
    """Open a parquet `file` for the `with` block, as a `pyarrow.parquet.ParquetFile` with these `options`.

    Raises OSError with its number and path if the operating system refuses the file, and pyarrow's errors if it is
    damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open("rb"):  # pyarrow's own error would not name the file
        pass
    with pa.OSFile(os.fsencode(file)) as source, pq.ParquetFile(source, **options) as table:
        yield table


def write(table: Any, file: Path) -> None:
    """Write a pyarrow `table` to `file`, compressed by zstd. Raises OSError if the file cannot be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pa.OSFile(os.fsencode(file), "wb") as sink:
        pq.write_table(table, sink, compression="zstd")
