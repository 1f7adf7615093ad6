"""Tasks made of a person's own files, without a definition: `ppl:FILE_OR_FOLDER`.

Bits per character is what continued pretraining and vocabulary changes are judged by: it counts every character of a
text once, whatever the tokenizer made of it, where perplexity per token is another unit for each tokenizer.

Not here: tasks that have a YAML (`harness.tasks`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.metrics.aggregate import ratio
from harness.protocols import Task
from harness.task_data import DataSource

PREFIX = "ppl:"
COLUMNS = ("text", "content")
"""Where a row's document is looked for, in this order."""
_EITHER = " or ".join(COLUMNS)


def names_files(name: str) -> bool:
    """Tell whether a task's name names files."""
    return name.startswith(PREFIX)


def build(name: str) -> Task:
    """Return the task that `name` stands for; raise HarnessError naming the file, the line and what is wrong there."""
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


class BitsPerCharacter(Task):
    """The bits a checkpoint needs to write down texts, per character (Unicode code point) and per UTF-8 byte.

    Every token of a text is predicted once, the first from BOS (EOS where there is none). A text longer than the
    context is read in windows that move by `stride` tokens (`HarnessLM.loglikelihood_sliding`). Means are over
    characters, not over texts.
    """

    def __init__(self, path: Path, texts: Sequence[str]) -> None:
        self._texts = texts
        super().__init__(
            config={
                "task": "ppl_" + "".join(c if c.isalnum() or c in "-_." else "_" for c in path.stem),
                "dataset_path": path.name,
                "test_split": "test",
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "",
                "num_fewshot": 0,
                "metric_list": [],
                "metadata": {"version": 1, "protocol": f"Bits per character of {path.name}; lower is better."},
            }
        )

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Take the texts as the data set, in place of one that lm-eval would fetch."""
        from datasets import Dataset

        self.dataset = {"test": Dataset.from_dict({"text": list(self._texts)})}

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> list[Instance]:
        """Return the one request: the text, and by how many tokens windows move."""
        asked = (doc["text"], {"stride": self.config.metadata.get("stride")})
        kept = {key: value for key, value in kwargs.items() if key in ("metadata", "repeats")}
        return [Instance(request_type="loglikelihood_sliding", doc=doc, arguments=asked, idx=0, **kept)]

    def process_results(self, doc: dict[str, Any], results: Sequence[float]) -> dict[str, tuple[float, int]]:
        """Return bits beside the characters, and the bytes, that they are for."""
        bits, text = -float(results[0]) / math.log(2), doc["text"]
        return {"bits_per_character": (bits, len(text)), "bits_per_byte": (bits, len(text.encode()))}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return how texts make a number: the sum of bits by the sum of characters."""
        return {"bits_per_character": ratio, "bits_per_byte": ratio}

    def higher_is_better(self) -> dict[str, bool]:
        """Return that fewer bits are better."""
        return {"bits_per_character": False, "bits_per_byte": False}


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
