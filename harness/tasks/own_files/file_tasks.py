"""Tasks that are files: the name of a task is a path, and no definition is needed.

`FILE` alone is a test set of questions and answers (`harness.tasks.own_files.question_files`).

`ppl:FILE_OR_FOLDER` measures bits per character of texts, the measure for continued pretraining and vocabulary changes.
It counts every character of a text once, however the tokenizer splits the text. Perplexity per token, in contrast, has
another unit with each tokenizer.

Not here: tasks with a YAML definition (`harness.tasks.catalogue`), or the requests made for a text
(`harness.tasks.protocols`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.common import paths, places
from harness.common.failures import ends_a_run
from harness.data import rows
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks.own_files import question_files, texts
from harness.tasks.own_files.question_files import Questions
from harness.tasks.task import Task

if TYPE_CHECKING:
    from harness.tasks.protocols.own_questions import OwnQuestions

PREFIX = "ppl:"
_SHORTEST_LIMIT, _LONGEST_LIMIT = 256, 1024
"""The smallest and the largest limit on the new tokens of an answer.

Between these, the limit is the number of characters in the longest accepted answer."""
_READING = 2
"""The version of tasks whose answers are texts; raised when a change of code may read the same answer differently."""
_PACKED = (".gz", ".zip", ".xz", ".zst", ".bz2", ".tar", ".tgz", ".7z", ".rar")
_WORKBOOKS = (".xlsx", ".xls", ".ods")


# --- names ------------------------------------------------------------------------------------------------------------


def names_files(name: str) -> bool:
    """Return whether the task name `name` is a path: of a test set or, after `ppl:`, of texts."""
    return name.startswith(PREFIX) or is_test_set(name)


def is_test_set(name: str) -> bool:
    """Return whether the task name `name` is the path of a test set."""
    return not name.startswith(PREFIX) and rows.is_supported(name)


def task_name(name: str) -> str:
    """Return the name of the task built from `name`: `my.jsonl` for `exams/my.jsonl`; other names stay unchanged."""
    if name.startswith(PREFIX):
        return f"ppl_{_spelled(Path(name.removeprefix(PREFIX)).stem)}"
    return _spelled(Path(name).name) if is_test_set(name) else name


def is_of_file(task: str) -> bool:
    """Return whether `task` is a name that `task_name` gives to the task of a file."""
    return is_test_set(task) or task.startswith(task_name(PREFIX))


def _spelled(name: str) -> str:
    """Return a file's name with every character that a task's name cannot have replaced by `_`."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def matching(name: str) -> list[str]:
    """Return the test sets that a pattern such as `exams/*.jsonl` matches, or `name` itself if it is not a pattern.

    Raises HarnessError if a pattern matches nothing.
    """
    if not is_test_set(name) or not paths.is_pattern(name):
        return [name]
    matches = [match for match in paths.matching(name) if is_test_set(match)]
    if not matches:
        raise HarnessError(f"no file matches {name}: check the path")
    return matches


def identity(name: str) -> str:
    """Return `name` with its path made absolute, so that all spellings of it are equal; other names stay unchanged."""
    if not names_files(name):
        return name
    prefix = PREFIX if name.startswith(PREFIX) else ""
    return prefix + str(Path(name.removeprefix(PREFIX)).expanduser().resolve())


def hint(name: str) -> str:
    """Return advice about a task name that is a path, but not of a test set; empty if nothing has that path."""
    if not paths.exists(name):
        return ""
    suffix = Path(name).suffix.lower()
    if suffix in _PACKED:
        return f": {name} is compressed, unpack it first"
    if suffix in _WORKBOOKS:
        return f": {name} is a workbook, save its sheet as .csv in UTF-8"
    return f": a test set is a file {', '.join(rows.READERS)}; to measure a text write ppl:{name}"


def source(name: str) -> DataSource:
    """Return where the documents of the task `name` are; raises HarnessError if there is no such file."""
    path = _texts_path(name) if name.startswith(PREFIX) else _test_set_path(name)
    return DataSource(path.name, None, path, "")


def has_answers_in_words(name: str, comparisons: Sequence[str] = ()) -> bool:
    """Return whether the task `name` is a test set whose answers are texts, to which `--metric` applies.

    Raises HarnessError if `build` would, except for problems that only reading the texts of `ppl:` would show.
    """
    if name.startswith(PREFIX):
        _texts_path(name)
        return False
    test_set = question_files.read(_test_set_path(name), comparisons)
    return not (test_set.is_multiple_choice or test_set.has_letter_sets)


def require_answers_in_words(names: Sequence[str], comparisons: Sequence[str], *, keep_going: bool = False) -> None:
    """Raise HarnessError if a task's file cannot be used, or if `comparisons` (`--metric`) apply to none of `names`.

    With `keep_going`, a file that cannot be used counts as one to which they might apply: building its task fails, too.
    """
    may_apply = False
    for name in filter(names_files, names):
        try:
            may_apply |= has_answers_in_words(name, comparisons)
        except HarnessError as error:
            if not keep_going or ends_a_run(error):
                raise
            may_apply = True
    if comparisons and not may_apply:
        raise HarnessError(
            "--metric is for a test set of your own with answers in words, and no task here is one: leave it out"
        )


# --- tasks ------------------------------------------------------------------------------------------------------------


def build(name: str, comparisons: Sequence[str] = ()) -> Task:
    """Return the task made of the file or folder `name`; `comparisons` are the metrics for answers in words.

    Raises HarnessError naming the file, the line and the problem.
    """
    return _text_task(_texts_path(name)) if name.startswith(PREFIX) else _test_set(_test_set_path(name), comparisons)


def _test_set(path: Path, comparisons: Sequence[str]) -> Task:
    from harness.tasks.protocols.answers import Answers
    from harness.tasks.protocols.letter_sets import LETTERS, LetterSets
    from harness.tasks.protocols.own_questions import OwnQuestions

    test_set = question_files.read(path, comparisons)
    columns = ", ".join(test_set.columns) + (f"; not read: {', '.join(test_set.unread)}" if test_set.unread else "")
    config: dict[str, Any] = {
        "task": task_name(str(path)),
        "dataset_path": path.name,
        "test_split": "test",
        "fewshot_split": "test",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "target_delimiter": test_set.delimiter,
        "metadata": {"version": 1, "file_notes": list(test_set.notes)},
    }
    if "shared" in test_set.documents[0]:
        config["metadata"]["cluster"] = "{{shared}}"
    if test_set.has_conversations:
        config["num_fewshot"] = 0
    if test_set.is_multiple_choice:
        config |= {"output_type": "multiple_choice", "doc_to_choice": "letters", "metric_list": [{"metric": "acc"}]}
        config["metadata"]["protocol"] = f"A test set of one's own ({columns}): the likeliest letter."
        return _named(OwnQuestions(config, test_set.documents), test_set)
    longest = max(len(text) for document in test_set.documents for text in document.get("answers", [""]))
    limit = min(max(_SHORTEST_LIMIT, longest), _LONGEST_LIMIT)
    config["output_type"] = "generate_until"
    config["generation_kwargs"] = {"until": list(test_set.stops), "do_sample": False, "max_gen_toks": limit}
    config["metadata"] |= {
        "version": _READING,
        "metrics": list(test_set.metrics),
        "fractions": list(test_set.metrics),
        "stops_after_shots": list(test_set.stops_after_shots),
    }
    if test_set.has_letter_sets:
        several = sum(len(document["answer"]) > 1 for document in test_set.documents)
        config["filter_list"] = LETTERS
        config["metadata"]["protocol"] = (
            f"A test set of one's own ({columns}) in which {several:,} of {len(test_set.documents):,} questions have "
            f"several right choices: the letters in a greedy answer of up to {limit} tokens, compared as sets."
        )
        return _named(LetterSets(config, test_set.documents), test_set)
    config["metadata"] |= {
        "protocol": f"A test set of one's own ({columns}): a greedy answer of up to {limit} tokens, compared by "
        f"{', '.join(test_set.metrics)}.",
    }
    return _named(Answers(config, test_set.documents), test_set)


def _named(lm_eval: OwnQuestions, test_set: Questions) -> Task:
    """Give the lm-eval task the ids and questions of `test_set`, and return it as a `Task`."""
    lm_eval.ids, lm_eval.questions = test_set.ids, test_set.questions
    return Task(lm_eval)


def _text_task(path: Path) -> Task:
    from harness.tasks.protocols.bits_per_character import BitsPerCharacter

    content = texts.read(path)
    if not content.documents:
        raise HarnessError(f"{path} holds no text: there is nothing to measure")
    config = {
        "task": task_name(f"{PREFIX}{path}"),
        "dataset_path": path.name,
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "",
        "num_fewshot": 0,
        "metric_list": [],
        "metadata": {
            "version": 1,
            "protocol": f"Bits per character of {path.name}; lower is better.",
            "file_notes": content.notes,
        },
    }
    return Task(BitsPerCharacter(config, [{"text": text} for text in content.documents]))


def _test_set_path(name: str) -> Path:
    path = Path(name).expanduser()
    if not places.is_file(path):
        raise HarnessError(f"there is no file {path}: check the path")
    return path


def _texts_path(name: str) -> Path:
    path = Path(name.removeprefix(PREFIX)).expanduser()
    if not path.exists():
        raise HarnessError(f"{name}: there is no file or folder {path}: check the path")
    texts.require_supported(path)
    return path
