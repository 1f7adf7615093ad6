"""The choices of a question in a user's own test set, and which of them are right.

Not here: the prompt that shows them (`harness.tasks.own_files.layouts`).
"""

from __future__ import annotations

import itertools
import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.rows import Row, number_as_text, parse_json
from harness.errors import HarnessError

_LIST_COLUMNS = ("choices", "options", "选项")
_LETTER_COLUMN = re.compile(r"(?:(?:option|choice|选项)[_ ]?)?([a-z])")

Answer = str | int | float
"""What a row's answer column holds: a choice's label, text or place."""


class Choices(NamedTuple):
    """The choices of one question."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    """The names by which the file's answers may refer to the choices: A, B, C … unless the file has other labels."""
    are_numbers: bool
    """Whether all choices are numbers in the file, not texts."""

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters before the choices in the prompt."""
        return tuple(string.ascii_uppercase[: len(self.texts)])


class _Question(NamedTuple):
    """A row with its choices and its answer."""

    row: Row
    choices: Choices
    answer: Answer


def columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return which of the columns `names`, in lower case, hold choices: one column of lists, or columns A, B, C …

    A longer name such as `option_a` counts as A. Columns A, B, C … hold choices only if there are both A and B.
    """
    for name in _LIST_COLUMNS:
        if name in names:
            return (name,)
    by_letter = {match[1]: name for name in names if (match := _LETTER_COLUMN.fullmatch(name))}
    lettered = []
    for letter in string.ascii_lowercase:
        if letter not in by_letter:
            break
        lettered.append(by_letter[letter])
    return tuple(lettered) if len(lettered) > 1 else ()


def of(row: Row, columns: Sequence[str]) -> Choices:
    """Return the choices that `row` has in `columns`, which the function `columns` returned.

    Raises HarnessError if there are fewer than two or more than 26 choices, or if one is empty or is not text.
    """
    where = f"'{columns[0]}'" if len(columns) == 1 else "'A', 'B' …"
    value = row.get(columns[0])
    if len(columns) > 1:
        cells = (row.get(name) for name in columns)
        value = {letter: cell for letter, cell in zip(string.ascii_uppercase, cells, strict=False) if _is_filled(cell)}
    if isinstance(value, Mapping) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        if len(value["label"]) != len(value["text"]) or len({*map(str, value["label"])}) < len(value["label"]):
            raise row.error(f"{where} does not have one label for each choice")
        value = dict(zip(value["label"], value["text"], strict=True))
    labels = tuple(str(label).strip() for label in value) if isinstance(value, Mapping) else ()
    items = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(items, list) or not 2 <= len(items) <= len(string.ascii_uppercase):
        raise row.error(f"{where} is not a list of 2 to 26 choices")
    if not all(isinstance(item, str | int | float) and _is_filled(item) for item in items):
        raise row.error(f"{where} holds an empty choice, or one that is not text")
    texts = _without_letters([(item if isinstance(item, str) else number_as_text(item)).strip() for item in items])
    are_numbers = not any(isinstance(item, str) for item in items)
    return Choices(tuple(texts), labels or tuple(string.ascii_uppercase[: len(texts)]), are_numbers)


def places(file: Path, rows: Sequence[Row], columns: Sequence[str], answer: str) -> list[tuple[int, ...]]:
    """Return the places, counted from 0 and in order, of each row's right choices, which the column `answer` names.

    An answer names a choice by its label, text or place, and several choices as a list or as one text: "AC", "A,C",
    "A、C". What a whole number means (label, text or place) is decided for all rows together. Raises HarnessError if
    that is ambiguous, or if a row names no choice, or the same choice twice.
    """
    questions: list[list[_Question]] = []
    for row in rows:
        choices = of(row, columns)
        questions.append([_Question(row, choices, item) for item in _answers(row, choices, answer)])
    flat = iter(_places(file, [question for row in questions for question in row], answer))
    right = [tuple(sorted(itertools.islice(flat, len(row)))) for row in questions]
    for row, chosen in zip(rows, right, strict=True):
        if len(set(chosen)) < len(chosen):
            raise row.error(f"'{answer}' names a choice twice")
    if any(len(chosen) > 1 for chosen in right):
        _require_unambiguous(questions, answer)
    return right


def _require_unambiguous(questions: Sequence[Sequence[_Question]], answer: str) -> None:
    """Raise HarnessError if an answer such as "AB" may be the text of one choice or the letters of several.

    This is checked in files in which some answers name several choices.
    """
    for row, choices, item in (row[0] for row in questions if len(row) == 1):
        if isinstance(item, str) and item not in choices.labels and {*item} <= {*choices.labels}:
            raise row.error(f"'{answer}' is '{item}', which may be the text of a choice or several letters")


def _places(file: Path, questions: Sequence[_Question], answer: str) -> list[int]:
    """Return the place of the choice that each question's answer names.

    A row with several right choices is several of the `questions`.
    """
    numbers = [_whole_number(question.answer) for question in questions]
    are_labels = all(str(number) in item.choices.labels for item, number in zip(questions, numbers, strict=True))
    if None in numbers or are_labels:
        return [_named_place(question, answer) for question in questions]
    counted = [number for number in numbers if number is not None]
    by_text = [_place_of_text(question) for question in questions]
    are_inside = [0 <= place < len(item.choices.texts) for item, place in zip(questions, counted, strict=True)]
    if None not in by_text:
        if all(are_inside) and by_text != counted:
            raise HarnessError(
                f"{file}: its answers may be texts of choices, or count them from 0: name them by letters"
            )
        return [place for place in by_text if place is not None]
    for question, is_inside in zip(questions, are_inside, strict=True):
        if not is_inside:
            raise _no_choice(question, answer, ", counted from 0")
    if 0 not in counted:
        raise HarnessError(
            f"{file}: its answers count the choices, but none of them is 0, so they may count from 1: name them by "
            "letters"
        )
    return counted


def _answers(row: Row, choices: Choices, column: str) -> list[Answer]:
    """Return the answers in `column`, one for each right choice that it names."""
    value = row.get(column)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        value = _listed(value.strip(), choices)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise row.error(f"'{column}' is an empty list: it names no choice")
    return [_answer(row, item, column) for item in items]


def _answer(row: Row, value: object, column: str) -> Answer:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.error(f"'{column}' does not name one choice")
    if isinstance(value, str):
        return value.strip()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(text: str, choices: Choices) -> list[Any]:
    """Return the items that the answer `text` lists; `text` alone if it is no list, or names a choice as a whole.

    A list of JSON or Python (`["A", "C"]`, which a table holds as text) is a list, whatever its items. Letters written
    together ("AC"), and items between marks ("A,C", "A、C", "A; C", "A and C", texts in lines), are a list only if each
    item names one choice.
    """
    if _matches(text, choices):
        return [text]
    if text.startswith("[") and text.endswith("]"):
        for spelling in (text, text.replace("'", '"')):
            try:
                return list(parse_json(spelling))
            except (ValueError, RecursionError):
                continue
    letters = "".join(unicodedata.normalize("NFKC", text).split())
    candidates = [list(letters)] if re.fullmatch("[A-Z]+", letters) or _are_small(letters, choices) else []
    candidates += [re.split(mark, text) for mark in _MARKS]
    for items in candidates:
        items = [item.strip() for item in items if item.strip()]
        if len(items) > 1 and all(len(_matches(item, choices)) == 1 or _counts(item, choices) for item in items):
            return items
    return [text]


_MARKS = (
    *(r"\n", r"[;；|]", r"[,，、/+&;；|\s]|和|与|及|\band\b", r"[,，]", "、"),
    *(r"[)）\].](?=[A-Za-z(（\[])", r"(?<=[)）\]])"),
)
"""Patterns of what separates the items of a list that is written as one text, tried in this order."""


def _are_small(letters: str, choices: Choices) -> bool:
    """Return whether `letters` consists of labels of `choices`, all of whose labels are in lower case."""
    return all(label.islower() for label in choices.labels) and set(letters) <= {*choices.labels}


def _counts(item: str, choices: Choices) -> bool:
    """Return whether `item` is a whole number that may be the place of a choice, counted from 0."""
    return re.fullmatch("[0-9]{1,2}", item) is not None and int(item) < len(choices.texts)


def _whole_number(answer: Answer) -> int | None:
    """Return the whole number that `answer` is, or None.

    1.0 is a whole number, because tables write 1 as 1.0 if another cell of the column is empty.
    """
    if isinstance(answer, str):
        return int(answer) if re.fullmatch("[0-9]{1,9}", answer) else None
    return int(answer) if answer == answer // 1 else None


def _place_of_text(question: _Question) -> int | None:
    """Return the place of the only choice whose text is the answer, or None; a text never matches a number."""
    choices, answer = question.choices, question.answer
    if isinstance(answer, str) == choices.are_numbers or choices.texts.count(str(answer)) != 1:
        return None
    return choices.texts.index(str(answer))


def _named_place(question: _Question, column: str) -> int:
    """Return the place of the choice that the answer names; raise HarnessError unless it names exactly one."""
    matches = _matches(str(question.answer), question.choices)
    if len(matches) != 1:
        raise _no_choice(question, column, several=bool(matches))
    return matches.pop()


def _matches(text: str, choices: Choices) -> set[int]:
    """Return the places of the choices that `text` names by label or text: exactly or, if none matches, loosely."""
    exact = {place for names in (choices.labels, choices.texts) for place, name in enumerate(names) if name == text}
    return exact or _loose_matches(text, choices)


def _loose_matches(text: str, choices: Choices) -> set[int]:
    """Return the places of the choices that `text` names loosely: by (b), b, Ｂ, or letter and text ("B. Paris")."""
    letter = re.fullmatch(r"[(\[]?([A-Za-z])[)\].、]?", unicodedata.normalize("NFKC", text))
    return {
        place
        for place, (label, choice) in enumerate(zip(choices.labels, choices.texts, strict=True))
        if text == f"{label}. {choice}" or (letter and letter[1].upper() == label.upper())
    }


def _no_choice(question: _Question, column: str, hint: str = "", *, several: bool = False) -> HarnessError:
    is_not = "is more than" if several else "is not"
    count = len(question.choices.texts)
    return question.row.error(
        f"'{column}' is '{str(question.answer)[:50]}', which {is_not} one of its {count} choices{hint}"
    )


def _is_filled(value: object) -> bool:
    """Return whether the `value` of a choice is neither empty nor NaN, which pandas writes for an empty cell."""
    return value is not None and value == value and bool(str(value).strip())


def _without_letters(texts: list[str]) -> list[str]:
    """Return `texts` without the letters that begin them ("A. 巴黎"), if all of them have letters, in order."""
    beginnings = [re.match(r"([A-Z])\s*[.．、:：)）]\s*(?=\S)", text) for text in texts]
    letters = [match[1] for match in beginnings if match]
    if letters != list(string.ascii_uppercase[: len(texts)]):
        return texts
    return [text[match.end() :] for text, match in zip(texts, beginnings, strict=True) if match]
