"""The choices of a question in a person's own test set, and which of them is right.

Not here: the prompt made of them (`harness.tasks.own_files.questions`).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data.rows import Row
from harness.errors import HarnessError

_LISTED = ("choices", "options", "选项")
_LETTERED = re.compile(r"(?:(?:option|choice|选项)[_ ]?)?([a-z])")


class Choices(NamedTuple):
    """The choices of one question."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    """The names they have in the file, by which an answer may call them: A, B, C … unless it says otherwise."""
    numbers: bool
    """Whether the file has them as numbers, not texts."""

    @property
    def letters(self) -> tuple[str, ...]:
        """Those that stand before them in the prompt."""
        return tuple(string.ascii_uppercase[: len(self.texts)])


def columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return which of the columns `names` (in small letters) hold choices: the one that lists them, or A, B, C …

    One that goes by a longer name, as `option_a`, counts as A. Without A and B there are none.
    """
    for name in _LISTED:
        if name in names:
            return (name,)
    by_letter = {match[1]: name for name in names if (match := _LETTERED.fullmatch(name))}
    found = []
    for letter in string.ascii_lowercase:
        if letter not in by_letter:
            break
        found.append(by_letter[letter])
    return tuple(found) if len(found) > 1 else ()


def of(row: Row, among: Sequence[str]) -> Choices:
    """Return the choices that `row` has in the columns `among`.

    Raises HarnessError where they are fewer than two, or no texts.
    """
    named = f"'{among[0]}'" if len(among) == 1 else "'A', 'B' …"
    given = row.get(among[0])
    if len(among) > 1:
        held = (row.get(name) for name in among)
        given = {letter: value for letter, value in zip(string.ascii_uppercase, held, strict=False) if _is_some(value)}
    if isinstance(given, Mapping) and isinstance(given.get("text"), list) and isinstance(given.get("label"), list):
        given = dict(zip(given["label"], given["text"], strict=False))
    labels = tuple(str(label).strip() for label in given) if isinstance(given, Mapping) else ()
    values = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(values, list) or not 2 <= len(values) <= len(string.ascii_uppercase):
        raise row.wrong(f"{named} is no list of 2 to 26 choices")
    if not all(isinstance(one, str | int | float) and _is_some(one) for one in values):
        raise row.wrong(f"{named} holds an empty choice, or one that is no text")
    texts = _without_letters([str(one).strip() for one in values])
    numbers = not any(isinstance(one, str) for one in values)
    return Choices(tuple(texts), labels or tuple(string.ascii_uppercase[: len(texts)]), numbers)


def places(file: Path, rows: Sequence[Row], among: Sequence[str], answer: str) -> list[int]:
    """Return the place from 0 of each row's right choice, which the column `answer` names by label, text or place.

    Which of these a whole number is, is decided for all rows together. Raises HarnessError where that is not clear, or
    a row names no choice, or several.
    """
    asked = [(row, of(row, among), _given(row, answer)) for row in rows]
    wholes = [_whole(given) for _, _, given in asked]
    by_label = all(str(whole) in choices.labels for (_, choices, _), whole in zip(asked, wholes, strict=True))
    if None in wholes or by_label:
        return [_named(*one, answer) for one in asked]
    counted = [whole for whole in wholes if whole is not None]
    texts = [_place_of_text(choices, given) for _, choices, given in asked]
    inside = [0 <= whole < len(choices.texts) for (_, choices, _), whole in zip(asked, counted, strict=True)]
    if None not in texts:
        if all(inside) and texts != counted:
            raise HarnessError(
                f"{file}: its answers may be texts of choices, or count them from 0: name them by letters"
            )
        return [place for place in texts if place is not None]
    for (row, choices, given), fits in zip(asked, inside, strict=True):
        if not fits:
            raise _no_choice(row, choices, given, answer, ", counted from 0")
    if 0 not in counted:
        raise HarnessError(
            f"{file}: its answers count the choices but never say 0, so they may count from 1: name them by letters"
        )
    return counted


def _given(row: Row, column: str) -> str | int | float:
    value = row.get(column)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.wrong(f"'{column}' does not name one choice")
    return value.strip() if isinstance(value, str) else value


def _whole(given: str | int | float) -> int | None:
    """Return the whole number that `given` is; a table makes 1.0 of 1 where a cell of the column is empty."""
    if isinstance(given, str):
        return int(given) if re.fullmatch("[0-9]{1,9}", given) else None
    return int(given) if given == given // 1 else None


def _place_of_text(choices: Choices, given: str | int | float) -> int | None:
    """Return the place of the only choice that `given` is, a number being none that is written as text."""
    if isinstance(given, str) == choices.numbers or choices.texts.count(str(given)) != 1:
        return None
    return choices.texts.index(str(given))


def _named(row: Row, choices: Choices, given: str | int | float, column: str) -> int:
    said = str(given)
    found = {i for names in (choices.labels, choices.texts) for i, one in enumerate(names) if one == said}
    found = found or _loosely(said, choices)
    if len(found) != 1:
        raise _no_choice(row, choices, given, column, several=bool(found))
    return found.pop()


def _loosely(said: str, choices: Choices) -> set[int]:
    """Return the places that `said` names by a letter in brackets, small or full-width, or as "B. its text"."""
    letter = re.fullmatch(r"[(\[]?([A-Za-z])[)\].、]?", unicodedata.normalize("NFKC", said))
    pairs = enumerate(zip(choices.labels, choices.texts, strict=True))
    return {
        i for i, (label, text) in pairs if said == f"{label}. {text}" or (letter and letter[1].upper() == label.upper())
    }


def _no_choice(
    row: Row, choices: Choices, given: object, column: str, hint: str = "", *, several: bool = False
) -> HarnessError:
    is_not = "is more than" if several else "is not"
    return row.wrong(f"'{column}' is '{str(given)[:50]}', which {is_not} one of its {len(choices.texts)} choices{hint}")


def _is_some(value: object) -> bool:
    return value is not None and bool(str(value).strip())


def _without_letters(texts: list[str]) -> list[str]:
    """Return `texts` without the letters that begin them, if they begin all of them: "A. 巴黎"."""
    begun = [re.match(r"([A-Z])\s*[.．、:：)）]\s*(?=\S)", text) for text in texts]
    letters = [match[1] for match in begun if match]
    if letters != list(string.ascii_uppercase[: len(texts)]):
        return texts
    return [text[match.end() :] for text, match in zip(texts, begun, strict=True) if match]
