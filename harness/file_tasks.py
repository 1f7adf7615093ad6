"""Tasks made of a person's own files, without a definition: `ppl:FILE_OR_FOLDER`.

Bits per character is what continued pretraining and vocabulary changes are judged by: it counts every character of a
text once, whatever the tokenizer made of it, where perplexity per token is another unit for each tokenizer.

Not here: tasks that have a YAML (`harness.tasks`), or what is asked about a text (`harness.protocols`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.task_data import DataSource

PREFIX = "ppl:"
COLUMNS = ("text", "content")
"""Where a row's document is looked for, in this order."""
_EITHER = " or ".join(COLUMNS)


def names_files(name: str) -> bool:
    """Tell whether a task's name names files."""
    return name.startswith(PREFIX)


def build(name: str) -> Any:
    """Return the lm-eval task that `name` stands for.

    Raises HarnessError naming the file, the line and what is wrong there.
    """
    from harness.protocols import BitsPerCharacter

    path = _path(name)
    texts = [text for text in documents(path) if text]
    if not texts:
        raise HarnessError(f"{path} holds no text: there is nothing to measure")
    return BitsPerCharacter(path, texts)


def source(name: str) -> DataSource:
    """Return where the documents of task `name` are; raise HarnessError if there is nothing."""
    path = _path(name)
    return DataSource(path.name, None, path, "")


def documents(path: Path) -> Iterator[str]:
    """Yield the documents of a file, or of all readable files below a folder in name order.

    A `.txt` file is one document, a row of `.jsonl` or `.parquet` is one, in its column `text` or `content`.
    """
    if path.is_file():
        yield from _reader(path)(path)
        return
    files = sorted(file for file in path.rglob("*") if file.suffix in _READERS and file.is_file())
    if not files:
        raise HarnessError(f"{path} holds no {', '.join(_READERS)} file: there is nothing to measure")
    for file in files:
        yield from _reader(file)(file)


def _path(name: str) -> Path:
    path = Path(name.removeprefix(PREFIX)).expanduser()
    if not path.exists():
        raise HarnessError(f"{name}: there is no file or folder {path}: check the path")
    if path.is_file():
        _reader(path)
    return path


def _reader(file: Path) -> Callable[[Path], Iterator[str]]:
    if file.suffix not in _READERS:
        raise HarnessError(f"{file} cannot be measured: known are {', '.join(_READERS)}, and folders of them")
    return _READERS[file.suffix]


def _txt(file: Path) -> Iterator[str]:
    yield _decoded(file)


def _jsonl(file: Path) -> Iterator[str]:
    for number, line in enumerate(_decoded(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise HarnessError(f"{file}, line {number}, is not JSON ({error}): correct or remove it") from error
        column = next((name for name in COLUMNS if isinstance(row, dict) and isinstance(row.get(name), str)), None)
        if column is None:
            raise HarnessError(f"{file}, line {number}, has no text in a column {_EITHER}: rename its column")
        yield row[column]


def _parquet(file: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"{file} cannot be read as parquet ({error}): fetch or write it again") from error
    column = next((name for name in COLUMNS if name in table.column_names), None)
    if column is None:
        raise HarnessError(f"{file} has no column {_EITHER}, only {', '.join(table.column_names)}: rename one")
    for text in table.column(column).to_pylist():
        yield text if isinstance(text, str) else ""


def _decoded(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as stream:  # a corpus's own line ends are its characters
            return stream.read()
    except UnicodeDecodeError as error:
        raise HarnessError(f"{file} is not UTF-8 (byte {error.start:,}): convert it") from error
    except OSError as error:
        raise HarnessError(f"{file} cannot be read ({error.strerror})") from error


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
