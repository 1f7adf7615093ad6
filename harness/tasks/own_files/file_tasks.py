"""Tasks made of a person's own files, without a definition.

`ppl:FILE_OR_FOLDER` measures bits per character of texts, which is what continued pretraining and vocabulary changes
are judged by: it counts every character of a text once, whatever the tokenizer made of it, where perplexity per token
is another unit for each tokenizer. `FILE` alone is a test set (`harness.tasks.own_files.questions`).

Not here: tasks that have a YAML (`harness.tasks.catalogue`), or what is asked about a text (`harness.tasks.protocols`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data import rows
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks.own_files import questions
from harness.tasks.task import Task

PREFIX = "ppl:"
COLUMNS = ("text", "content")
"""Where a row's document is looked for, in this order."""
_EITHER = " or ".join(COLUMNS)
_LONGEST_ANSWER = (256, 1024)
"""New tokens an answer may have: as many as the longest accepted one has characters, within these."""


def names_files(name: str) -> bool:
    """Tell whether a task's name names files."""
    return name.startswith(PREFIX) or is_test_set(name)


def is_test_set(name: str) -> bool:
    """Tell whether a task's name is that of a file of questions and answers."""
    return not name.startswith(PREFIX) and Path(name).suffix in rows.readers


def meant(name: str) -> str:
    """Return what to do about a task's name that is no task but a path, nothing if it is not."""
    if not Path(name).expanduser().exists():
        return ""
    return f": a test set is a file {', '.join(rows.readers)}; to measure a text write ppl:{name}"


def build(name: str, comparisons: Sequence[str] = ()) -> Task:
    """Return the task that `name` stands for, answers in words compared by `comparisons`.

    Raises HarnessError naming the file, the line and what is wrong there.
    """
    return Task(_texts(_path(name)) if name.startswith(PREFIX) else _questions(_test_set(name), comparisons))


def matching(name: str) -> list[str]:
    """Return the test sets that a pattern such as `exams/*.jsonl` matches, or `name` itself if it is none."""
    pattern = Path(name).expanduser()
    if not is_test_set(name) or not any(letter in name for letter in "*?[") or pattern.exists():
        return [name]
    if found := sorted(map(str, Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))):
        return found
    raise HarnessError(f"no file matches {name}: check the path")


def has_answers_in_words(name: str, comparisons: Sequence[str] = ()) -> bool:
    """Tell whether `comparisons` are asked for by the task `name`.

    Raises HarnessError where `build` would, as far as that is told without reading a corpus.
    """
    if name.startswith(PREFIX):
        _path(name)
        return False
    return not questions.read(_test_set(name), comparisons).chooses


def called(name: str) -> str:
    """Return what the task `name` is called: `my.jsonl` where it is `exams/my.jsonl`, `name` where it is no file."""
    if name.startswith(PREFIX):
        return f"ppl_{_spelled(Path(name.removeprefix(PREFIX)).stem)}"
    return _spelled(Path(name).name) if is_test_set(name) else name


def source(name: str) -> DataSource:
    """Return where the documents of task `name` are; raise HarnessError if there is nothing."""
    path = _path(name) if name.startswith(PREFIX) else _test_set(name)
    return DataSource(path.name, None, path, "")


# --- test sets --------------------------------------------------------------------------------------------------------


def _test_set(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise HarnessError(f"there is no file {path}: check the path")
    return path


def _questions(path: Path, comparisons: Sequence[str]) -> Any:
    from harness.tasks.protocols.answers import Answers
    from harness.tasks.protocols.base import FromFile

    asked = questions.read(path, comparisons)
    columns = ", ".join(asked.columns) + (f"; not read: {', '.join(asked.unread)}" if asked.unread else "")
    config: dict[str, Any] = {
        "task": called(str(path)),
        "dataset_path": path.name,
        "test_split": "test",
        "fewshot_split": "test",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "target_delimiter": asked.delimiter,
        "metadata": {"version": 1},
    }
    if "shared" in asked.documents[0]:
        config["metadata"]["cluster"] = "{{shared}}"
    if asked.converses:
        config["num_fewshot"] = 0
    if asked.chooses:
        config |= {"output_type": "multiple_choice", "doc_to_choice": "letters", "metric_list": [{"metric": "acc"}]}
        config["metadata"]["protocol"] = f"A test set of one's own ({columns}): the likeliest letter."
        return FromFile(config, asked.documents)
    longest = max(len(text) for document in asked.documents for text in document["answers"])
    least, most = _LONGEST_ANSWER
    room = min(max(least, longest), most)
    config["output_type"] = "generate_until"
    config["generation_kwargs"] = {"until": list(asked.stops), "do_sample": False, "max_gen_toks": room}
    config["metadata"] |= {
        "metrics": list(asked.metrics),
        "fractions": list(asked.metrics),
        "stops_after_shots": list(asked.stops_after_shots),
        "protocol": f"A test set of one's own ({columns}): a greedy answer of up to {room} tokens, compared by "
        f"{', '.join(asked.metrics)}.",
    }
    return Answers(config, asked.documents)


# --- texts ------------------------------------------------------------------------------------------------------------


def _texts(path: Path) -> Any:
    from harness.tasks.protocols.bits_per_character import BitsPerCharacter

    texts = [{"text": text} for text in documents(path) if text]
    if not texts:
        raise HarnessError(f"{path} holds no text: there is nothing to measure")
    config = {
        "task": called(f"{PREFIX}{path}"),
        "dataset_path": path.name,
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "",
        "num_fewshot": 0,
        "metric_list": [],
        "metadata": {"version": 1, "protocol": f"Bits per character of {path.name}; lower is better."},
    }
    return BitsPerCharacter(config, texts)


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


def _spelled(name: str) -> str:
    """Return what a task made of a file of this name is called."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def _reader(file: Path) -> Callable[[Path], Iterator[str]]:
    if file.suffix not in _READERS:
        raise HarnessError(f"{file} cannot be measured: known are {', '.join(_READERS)}, and folders of them")
    return _READERS[file.suffix]


def _txt(file: Path) -> Iterator[str]:
    yield rows.decoded(file)


def _jsonl(file: Path) -> Iterator[str]:
    for row in rows.rows(file):
        column = next((name for name in COLUMNS if isinstance(row.columns.get(name), str)), None)
        if column is None:
            raise HarnessError(f"{row.where}, has no text in a column {_EITHER}: rename its column")
        yield row.columns[column]


def _parquet(file: Path) -> Iterator[str]:
    table = rows.parquet(file)
    column = next((name for name in COLUMNS if name in table.column_names), None)
    if column is None:
        raise HarnessError(f"{file} has no column {_EITHER}, only {', '.join(table.column_names)}: rename one")
    for text in table.column(column).to_pylist():
        yield text if isinstance(text, str) else ""


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
