"""Whether the questions in a column of recorded lines belong to the documents that the lines answer.

Questions are compared as those of a test set are (`harness.tasks.same_question`). A text that contains its document's
question, or is part of that question, counts as the question, because a prompt has a template and examples around it. A
text that quotes the question of another document proves nothing: it may be a few-shot example, a retrieved text, or an
answer that goes on with another question. Three findings show that lines stand in another order, each in several lines
with different questions:

- lines have exchanged their questions, so that the text of each is the whole question that another one should have;
- at least half of the lines whose text differs hold another document's question and nothing else;
- most lines differ, and in these the question of another document stands within one and the same template, not counting
  examples that are the same in several lines.

Not here: references (`harness.recorded.reference_columns`).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.recorded.columns import ANSWERS, QUESTIONS, REFERENCES, SOURCES, Value, contradiction, difference
from harness.tasks.same_question import question_form
from harness.tasks.task import Task

_DOCUMENT_COLUMNS = (*QUESTIONS, "content", "input", "text", "goal", "premise", "sentence1", "sentence")
"""Columns of published documents that hold the question; the first present counts, or else the longest text."""
_QUOTED = 4
"""A question with this many characters or more is hardly ever part of another text by chance."""
_SEARCHED = 20
"""The number of texts that are searched for the questions of all documents."""


class _Line(NamedTuple):
    """A recorded line whose text differs from the question of the document that the line answers."""

    value: Value
    form: str
    owner: int | None
    """The place of the first document whose whole question is the line's text, or None."""
    is_unlike: bool
    """Whether the line's text does not contain its document's question, and is no part of it or of another column."""


class _Quotation(NamedTuple):
    """The question of another document within a text, or a text within such a question."""

    owner: int
    rest: str
    """The letters and digits around the part that text and question share, which are the template."""


class Questions:
    """The questions of a task in the form in which questions are compared; the forms are computed at first use."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._documents = task.documents
        self._forms: list[str] | None = None
        self._texts: Sequence[str] = ()
        self._longest = 0
        self._places: dict[str, list[int]] = {}

    def compare(self, column: str, values: Sequence[Value]) -> list[str] | None:
        """Return the notes on `values`, the texts in a column; None if the column holds no questions of the task.

        Raises HarnessError if lines have the questions of other documents.
        """
        forms = self._computed() if values else []
        values = [value._replace(value=_last_question(value.value)) for value in values]
        values = [value for value in values if value.value and forms[value.place]]
        lines = [line for value in values if (line := self._line(value)) is not None]
        unlike = [line for line in lines if line.is_unlike]
        is_named, is_prompt = column.lower() in QUESTIONS, column.lower() == "prompt"
        if not values:
            return None
        if column.lower() not in SOURCES:
            error = self._first_displaced(lines, len(values), is_named=is_named)
            if error is None and 2 * len(unlike) > len(values):
                error = self._first_quotation(unlike, may_be_answers=column.lower() == "content")
            if error is not None:
                raise contradiction(error[0], column, f"the question of document {error[1]}", self._task.name)
        is_read = len(unlike) < len(values) if is_prompt else 2 * len(unlike) <= len(values)
        if not (is_read or is_named):
            return None
        return difference(self._task.name, column, [line.value for line in unlike], len(values), "question")

    def _computed(self) -> list[str]:
        if self._forms is None:
            self._texts = self._task.questions or [_question(document) for document in self._documents]
            self._longest = 2 * max(map(len, self._texts), default=0)
            self._forms = [_form(question) for question in self._texts]
            for place, form in enumerate(self._forms):
                self._places.setdefault(form, []).append(place)
        return self._forms

    def _line(self, value: Value) -> _Line | None:
        """Return `value` as a line; None if its text is the question of its document, or a long prompt around it."""
        expected = self._computed()[value.place]
        if len(value.value) > self._longest and _holds(value.value, self._texts[value.place].strip()):
            return None  # a prompt around its question, which is no whole question of another document
        form = _form(value.value)
        if form == expected:
            return None
        is_like = _holds(form, expected) or _holds(expected, form) or self._is_other_text(form, value.place)
        return _Line(value, form, next(iter(self._places.get(form, [])), None), not is_like)

    def _is_other_text(self, form: str, place: int) -> bool:
        """Return whether another column of the document at `place`, such as its instruction, contains `form`."""
        columns = self._documents[place].values()
        return any(_holds(_form(column), form) for column in columns if isinstance(column, str))

    def _first_displaced(self, lines: Sequence[_Line], total: int, *, is_named: bool) -> tuple[Value, int] | None:
        """Return the first value proven to hold another document's question, with that document's place; else None."""
        recurring = Counter(line.form for line in lines)
        whole = [
            (line, line.owner)
            for line in lines
            if line.owner is not None
            and (is_named or (recurring[line.form] == 1 and len(self._places[line.form]) == 1))
        ]
        owners = {owner for _, owner in whole}
        if len(owners) >= 2 and owners == {line.value.place for line, _ in whole}:
            return whole[0][0].value, whole[0][1]
        unlike = [line for line in lines if line.is_unlike]
        whole = [(line, owner) for line, owner in whole if line.is_unlike]
        least = min(2, total) if is_named else 2
        if len({owner for _, owner in whole}) >= least and 2 * len(whole) >= len(unlike):
            return whole[0][0].value, whole[0][1]
        return None

    def _first_quotation(self, unlike: Sequence[_Line], *, may_be_answers: bool) -> tuple[Value, int] | None:
        """Return the first value with another document's question in the common template, or None.

        The place of that document is returned with the value.
        """
        recurring = Counter(line.form for line in unlike)
        lines = [x for x in unlike if recurring[x.form] == 1 and not (may_be_answers and _has_answer(x))]
        if 2 * len(lines) < len(unlike):
            return None
        searched = lines[:: max(1, len(lines) // _SEARCHED)][:_SEARCHED]
        parts = [[text for text in self._places if len(text) >= _QUOTED and _holds(x.form, text)] for x in searched]
        examples = {text for text, count in Counter(itertools.chain(*parts)).items() if count > 1}
        quotations = [
            (line.value, self._quotation(line.form, [text for text in texts if text not in examples]))
            for line, texts in zip(searched, parts, strict=True)
        ]
        templates = Counter(quotation.rest for _, quotation in quotations if quotation is not None)
        [(template, count)] = templates.most_common(1) or [("", 0)]
        first = [(value, item.owner) for value, item in quotations if item is not None and item.rest == template]
        has_owners = len({owner for _, owner in first}) == count >= 2
        return first[0] if has_owners and 4 * count >= 3 * len(searched) else None

    def _quotation(self, form: str, parts: Sequence[str]) -> _Quotation | None:
        """Return the only question in the text `form`, or the only one that contains `form`; None if not just one.

        `parts` are the questions in `form`; questions within the longest one, such as a common stem, do not count.
        """
        if parts:
            part = max(parts, key=len)
            places = self._places[part] if all(shorter in part for shorter in parts) else []
            return _Quotation(places[0], _letters(form.replace(part, "\n", 1))) if len(places) == 1 else None
        longer = [text for text in self._places if _holds(text, form)] if len(form) >= _QUOTED else []
        places = self._places[longer[0]] if len(longer) == 1 else []
        return _Quotation(places[0], _letters(longer[0].replace(form, "\n", 1))) if len(places) == 1 else None


def _form(text: str) -> str:
    return question_form(text).replace("\n", "")


def _letters(text: str) -> str:
    return "".join(character for character in text if character == "\n" or character.isalnum())


def _has_answer(line: _Line) -> bool:
    """Return whether the text of `line` contains the model's answer, so that the model may have written the text."""
    first = next(iter(next(iter(line.value.answer.responses), ())), None)
    if not isinstance(first, str) or not first.strip():
        return False
    return re.search(rf"(?<!\w){re.escape(first.strip())}(?!\w)", line.value.value) is not None


def _last_question(value: object) -> str:
    """Return the text of a recorded question: a text, or the user's last turn in a list; empty for anything else."""
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
    """Return the question of a published task's document; empty if the document has no text beside its reference."""
    texts = {name: value for name, value in document.items() if isinstance(value, str) and value}
    named = [texts[name] for name in _DOCUMENT_COLUMNS if name in texts]
    others = [text for name, text in texts.items() if name.lower() not in (*REFERENCES, *ANSWERS)]
    return named[0] if named else max(others, key=len, default="")
