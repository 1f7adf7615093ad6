"""Whether recorded lines repeat the questions and references of the documents that they answer.

A line's id or place says which document it answers. Where it repeats that document's question or reference, too, the
two must agree but for white space, width and case: a file whose lines stand in another order than the data, or whose
ids are those of other data, would be scored against the wrong references. Such files are refused. Single references
that differ, as in a corrected data set, are counted in a note.

Not here: the columns that a published format has in common with its data (`harness.recorded.match`), or what counts as
the same reference (`harness.recorded.references`).
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded import references
from harness.recorded.answers import Answer
from harness.recorded.references import Reading, is_same, normalised
from harness.reports.numbers_in_words import counted
from harness.tasks.task import Task

_QUESTIONS = ("question", "problem", "query", "问题", "题目", "题干")
"""Columns of a line that hold the question and nothing else."""
_TEXTS = ("prompt", "messages", "conversations", "instruction", "input", "content", "context", "passage")
"""Columns of a line that may hold the question, or what stands around it."""
_QUESTION_COLUMNS = (*_QUESTIONS, "content", "input", "text", "goal", "premise", "sentence1", "sentence")
"""Columns of a published task's documents that hold the question; the first one counts, else the longest text."""
_REFERENCES = (
    *("reference", "references", "target", "targets", "label", "labels", "gold", "golds", "gold_answer", "ref", "refr"),
    *("ground_truth", "groundtruth", "expected", "expected_answer", "correct_answer", "answerkey"),
    *("参考答案", "正确答案", "标准答案"),
)
"""Columns of a line that hold the reference and nothing else."""
_ANSWERS = ("answer", "answers", "答案", "output", "response", "completion", "summary")
"""Columns of a line that may hold the reference, or what was read from the answer."""
_DISTINCT = 12
"""The number of characters from which equal references of two documents are no chance."""
_CUT = 3
"""The number of characters from which a reference may be the beginning of another document's."""
_QUOTED = 8
"""The number of characters from which a question within another text is no chance."""
_SEARCHED = 20
"""The number of texts in which the questions of all documents are searched."""
_LONGEST_SHIFT = 5
"""The number of lines by which a file may be shifted against the data to be recognised as such."""


class _Value(NamedTuple):
    """What a recorded line says of its document in one column."""

    place: int
    """The place of the document that the line answers."""
    answer: Answer
    value: Any


def require(task: Task, answers: Mapping[int, Answer]) -> list[str]:
    """Return notes on the columns of recorded lines that differ from their documents, or that were not compared.

    `answers` are by the place of their document.

    Raises HarnessError if lines have questions or references of other documents than those that they answer.
    """
    columns = {name: name.lower() for answer in answers.values() for name in answer.beside}
    notes: list[str] = []
    unread: list[str] = []
    questions = _Questions(task)
    if any(answer.prompt is not None and answer.names_id for answer in answers.values()):
        prompts = [_Value(place, answer, answer.prompt) for place, answer in answers.items() if answer.prompt]
        notes += questions.compare("prompt", prompts, task.name) or []
    for column, name in sorted(columns.items()):
        values = [
            _Value(place, answer, answer.beside[column])
            for place, answer in answers.items()
            if answer.beside.get(column) not in (None, "", [])
        ]
        differences = None
        if name in (*_QUESTIONS, *_TEXTS):
            differences = questions.compare(column, values, task.name)
        elif name in (*_REFERENCES, *_ANSWERS) and task.output_type != "loglikelihood_rolling":
            differences = _compare_references(task, column, values)
        if differences is None:
            unread.append(column)
        else:
            notes += differences
    if unread:
        names = ", ".join(f"'{name}'" for name in unread)
        notes.append(f"{task.name}: {names} of the recorded lines: not read, since each line's id names its document")
    return notes


def _difference(task: str, column: str, different: Sequence[_Value], total: int, kind: str) -> list[str]:
    """Return the note on `different` of `total` values in a column of questions or references; none if none differs."""
    if not different:
        return []
    verb = "differs" if len(different) == 1 else "differ"
    return [
        f"{task}: {len(different):,} of {counted(total, 'recorded ' + kind)} ('{column}') {verb} from the task's "
        f"(first: {different[0].answer.where})"
    ]


# --- questions --------------------------------------------------------------------------------------------------------


class _Questions:
    """The questions of a task, normalised once they are needed."""

    def __init__(self, task: Task) -> None:
        self._task, self._documents = task, task.documents
        self._texts: list[str] | None = None
        self._places: dict[str, int] = {}
        self._has_lines: list[bool] = []

    def compare(self, column: str, values: Sequence[_Value], task: str) -> list[str] | None:
        """Return the notes on `values`, the texts in a column; None if the column holds no questions of the task.

        Raises HarnessError if a line has the question of another document, or if a column of questions has no question
        of the document that its line answers.
        """
        questions = self._normalised() if values else []
        values = [value._replace(value=_last_question(value.value)) for value in values]
        values = [value for value in values if value.value and questions[value.place]]
        if not values:
            return None
        unknown = []
        for value in values:
            recorded, expected = normalised(value.value), questions[value.place]
            is_unlike = not (_holds(recorded, expected) or _holds(expected, recorded))
            is_unlike = is_unlike and not self._is_other_text(recorded, value.place)
            unknown += [value] if is_unlike else []
            is_whole = column.lower() in _QUESTIONS and not self._has_lines[value.place] and recorded != expected
            other = self._other(recorded, is_searched=is_unlike and len(unknown) <= _SEARCHED)
            if other is not None and (is_unlike or is_whole):
                raise _contradiction(value, column, f"the question of document {other}", task)
        if len(unknown) < len(values):
            return _difference(task, column, unknown, len(values), "question")
        if column.lower() in _QUESTIONS:
            raise _contradiction(unknown[0], column, "another question", task)
        return None

    def _is_other_text(self, text: str, place: int) -> bool:
        """Return whether another column of the document at `place` has `text`: its instruction, or its whole prompt."""
        columns = self._documents[place].values()
        return any(_holds(normalised(column), text) for column in columns if isinstance(column, str))

    def _normalised(self) -> list[str]:
        if self._texts is None:
            own = self._task.questions
            questions = own or [_question(document) for document in self._documents]
            self._texts = [normalised(question) for question in questions]
            self._places = {text: place for place, text in reversed([*enumerate(self._texts)])}
            self._has_lines = ["\n" in question for question in questions]
        return self._texts

    def _other(self, text: str, *, is_searched: bool) -> int | None:
        """Return the place of a document whose question `text` is or contains, or of the only one with `text` in it."""
        questions = self._normalised()
        if text in self._places or not is_searched:
            return self._places.get(text)
        candidates = (place for place, question in enumerate(questions) if len(question) >= _QUOTED)
        whole = next((place for place in candidates if _holds(text, questions[place])), None)
        if whole is not None or len(text) < _QUOTED:
            return whole
        parts = [place for place, question in enumerate(questions) if _holds(question, text)]
        return parts[0] if len(parts) == 1 else None


def _last_question(value: object) -> str:
    """Return the text of a recorded question: a text, or the last turn of the user in a list of turns; else nothing."""
    if isinstance(value, str):
        return value
    turns = [turn for turn in value if isinstance(turn, dict)] if isinstance(value, list) else []
    texts = [
        turn.get("content", turn.get("value"))
        for turn in turns
        if turn.get("role", turn.get("from")) in ("user", "human", "HUMAN")
    ]
    return texts[-1] if texts and isinstance(texts[-1], str) else ""


def _holds(text: str, part: str) -> bool:
    """Return whether `text` contains `part`, but not within a number: 1 + 1 is no part of 11 + 1."""
    if part not in text:
        return False
    before = "(?<![0-9])" if part[:1].isdigit() else ""
    behind = "(?![0-9])" if part[-1:].isdigit() else ""
    return not (before or behind) or re.search(before + re.escape(part) + behind, text) is not None


def _question(document: Mapping[str, Any]) -> str:
    """Return the question of a published task's document; empty if it has no text beside its reference."""
    texts = {name: value for name, value in document.items() if isinstance(value, str) and value}
    named = [texts[name] for name in _QUESTION_COLUMNS if name in texts]
    others = [text for name, text in texts.items() if name.lower() not in (*_REFERENCES, *_ANSWERS)]
    return named[0] if named else max(others, key=len, default="")


# --- references -------------------------------------------------------------------------------------------------------


def _compare_references(task: Task, column: str, values: Sequence[_Value]) -> list[str] | None:
    """Return the notes on `values`, a column of references; None if the column holds no references of the task.

    Raises HarnessError if they are those of other documents.
    """
    values = sorted((value for value in values if references.text(value.value)), key=lambda value: value.place)
    forms = references.readings(task) if values else []
    if not forms:
        return None
    texts = [references.text(value.value) for value in values]

    candidates = sorted((_compared(values, texts, form) for form in forms), key=lambda form: form.distance(texts))
    different = candidates[0].different
    is_named = column.lower() in _REFERENCES
    # Where most references differ in every form, none of the forms is certain to be that of the column.
    for candidate in candidates if 2 * len(different) > len(values) else candidates[:1]:
        index = _displaced(values, texts, candidate, is_named=is_named)
        if index is not None:
            place = candidate.owners.only(texts[index])
            other = "the reference of another document" if place is None else f"the reference of document {place}"
            raise _contradiction(values[index], column, other, task.name)
    if len(different) == len(values) and not is_named:
        return None
    return _difference(task.name, column, [values[index] for index in different], len(values), "reference")


class _Owners:
    """The documents that have each reference, in one form."""

    def __init__(self, reading: Reading) -> None:
        self._places: dict[str, list[int]] = {}
        for place, accepted in enumerate(reading):
            for expected in {*accepted}:
                self._places.setdefault(expected, []).append(place)
        self._sorted = sorted(self._places)

    def __contains__(self, text: str) -> bool:
        return text in self._places

    def only(self, text: str) -> int | None:
        """Return the place of the only document with the reference `text`, which may be cut if it is long, or None."""
        places = self._places.get(text, [])
        if not places and len(text) >= _CUT:  # ChatGLM's script cuts references
            first = bisect.bisect_left(self._sorted, text)
            longer = itertools.takewhile(
                lambda expected: expected.startswith(text), itertools.islice(self._sorted, first, None)
            )
            places = [place for expected in itertools.islice(longer, 2) for place in self._places[expected]]
        return places[0] if len(places) == 1 else None


class _Compared(NamedTuple):
    """A column of references, compared with those of a task in one form."""

    different: list[int]
    """The indices of the lines whose reference differs from their document's."""
    owners: _Owners
    reading: Reading

    def distance(self, texts: Sequence[str]) -> int:
        """Return how far the recorded `texts` are from this form: differences, twice if no document has the text."""
        return len(self.different) + sum(texts[index] not in self.owners for index in self.different)


def _compared(values: Sequence[_Value], texts: Sequence[str], reading: Reading) -> _Compared:
    different = [i for i, value in enumerate(values) if not _agrees(texts[i], reading[value.place])]
    return _Compared(different, _Owners(reading), reading)


def _displaced(values: Sequence[_Value], texts: Sequence[str], compared: _Compared, *, is_named: bool) -> int | None:
    """Return the index of the first line with another document's reference, or None.

    None is returned if the differences may be corrections, or what was read from the answers: only long or rare
    references show whose they are.
    """
    different, owners, reading = compared
    unique = [index for index in different if owners.only(texts[index]) is not None]
    long = [index for index in unique if len(texts[index]) >= _DISTINCT]
    places = {owners.only(texts[index]) for index in unique}  # an answer that recurs has one owner in several lines
    if long or (len(places) >= 2 and 2 * len(places) >= len(values)):
        return (long or unique)[0]
    first = [next(iter(reading[values[index].place]), "") for index in different]
    is_many = bool(unique) or 10 * len(different) >= len(values)
    is_in_other_order = is_many and Counter(texts[index] for index in different) == Counter(first)
    foreign = sum(texts[index] in owners for index in different)
    is_of_others = is_named and len(values) >= 4 and 2 * foreign > len(values)
    if different and (is_in_other_order or is_of_others or _is_shifted(values, texts, reading)):
        return different[0]
    return None


def _is_shifted(values: Sequence[_Value], texts: Sequence[str], reading: Reading) -> bool:
    """Return whether every line has the reference of the document a few places before or behind its own."""
    for shift in (shift for step in range(1, _LONGEST_SHIFT + 1) for shift in (step, -step)):
        inside = [index for index, value in enumerate(values) if 0 <= value.place + shift < len(reading)]
        has_variety = len(inside) >= 3 and len({texts[index] for index in inside}) > 1
        if has_variety and all(_agrees(texts[i], reading[values[i].place + shift]) for i in inside):
            return True
    return False


def _agrees(recorded: str, accepted: Sequence[str]) -> bool:
    """Return whether the `recorded` reference is one of those that are `accepted`."""
    return any(is_same(recorded, expected) for expected in accepted)


def _contradiction(value: _Value, column: str, other: str, task: str) -> HarnessError:
    return HarnessError(
        f"{value.answer.where}, answers document {value.place} of {task}, but its '{column}' holds {other}: correct "
        f"the ids or the order of the lines, name the data that were answered, or remove '{column}'"
    )
