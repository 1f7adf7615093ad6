"""The forms in which a recorded line may repeat the reference of its document.

A reference is a text, one of several accepted texts, or a choice: its letter, its text or its place. A whole column has
one of these forms (`Reading`).

Not here: what follows from a difference (`harness.recorded.reference_columns`).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from harness.common.visible import is_visible
from harness.data.rows import number_as_text
from harness.metrics.answers.numbers import is_number, is_same_number, last_number
from harness.recorded.columns import ANSWERS, REFERENCES
from harness.tasks.task import Task

Reading = Sequence[Sequence[str]]
"""For each document, the normalised texts by which a line may repeat its reference; all have the same form."""
_FINAL = "####"
"""The text before the final answer in GSM8K's references."""
_LONGEST_NUMBER = 40
"""A reference with this many characters or fewer may be a number."""
_LONG = 20
"""A reference with this many characters or more may be cut within a word."""
_MARKED_LETTER = re.compile(r"[(\[]?([a-z])[)\].、:]?")


def normalised(text: str) -> str:
    """Return `text` in one width and case, without invisible characters, and with white space only between words.

    Words are of ASCII letters and digits; white space elsewhere is dropped, because tokenizers change it.
    """
    words = "".join(c for c in unicodedata.normalize("NFKC", text) if c.isspace() or is_visible(c)).split()
    return re.sub(r"(?<![a-z0-9]) | (?![a-z0-9])", "", " ".join(words).casefold())


def text(value: object) -> str:
    """Return a recorded reference as normalised text: a text, a number, or a list of them; empty for anything else."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return normalised(value)
    if isinstance(value, int | float):
        return normalised(number_as_text(value)) if value == value else ""
    if isinstance(value, list):
        return "".join(map(text, value))
    return ""


def texts(value: object) -> list[str]:
    """Return the normalised texts of a recorded reference: the whole reference, then its items if it is a list."""
    return list(dict.fromkeys([text(value), *(_texts(value) if isinstance(value, list) else [])]))


def is_same(recorded: str, expected: str) -> bool:
    """Return whether two normalised texts are the same reference.

    Two numbers are the same if their values are. Other recorded texts may be cut short after a word, or, if they are
    long, anywhere except within a number.
    """
    if recorded == expected or not recorded:
        return recorded == expected
    if _is_number(recorded) and _is_number(expected):
        return is_same_number(recorded, expected)
    if not expected.startswith(recorded):
        letter = _MARKED_LETTER.fullmatch(recorded)
        return letter is not None and letter[1] == expected
    rest = expected[len(recorded) :]
    is_in_word = re.match("[a-z0-9]", rest) and re.search("[a-z0-9]$", recorded)
    is_in_number = re.match(r"[.,:/^]?[0-9]", rest) and re.search("[0-9][.,:/^]?$", recorded)
    return not is_in_number and (len(recorded) >= _LONG or not is_in_word)


def key(reference: str) -> str:
    """Return a text that is the same for all normalised references with equal values, such as 1,000 and 1000.0."""
    return f"{last_number(reference)}" if _is_number(reference) and "%" not in reference else reference


@functools.lru_cache(maxsize=1 << 16)
def _is_number(reference: str) -> bool:
    return len(reference) <= _LONGEST_NUMBER and any(map(str.isdigit, reference)) and is_number(reference)


def readings(task: Task) -> list[Reading]:
    """Return the references of all documents of `task` in every form in which a line may repeat them."""
    documents = [dict(document) for document in task.documents]
    if task.output_type == "multiple_choice":
        forms = [_of_choice(task, document) for document in documents]
    else:
        forms = [{"target": _texts(task.target(document))} for document in documents]
    for document, form in zip(documents, forms, strict=True):
        if isinstance(document.get("answers"), list):
            form["target"] = _texts(document["answers"])
        if "letters" in document and isinstance(document.get("answer"), str):  # several right choices
            form["list"] = [normalised(",".join(document["answer"])), normalised("、".join(document["answer"]))]
        form["column"] = [
            item for name in document if name.lower() in (*REFERENCES, *ANSWERS) for item in _texts(document[name])
        ]
        form["final"] = [item.rpartition(_FINAL)[2].strip() for item in form.get("target", ()) if _FINAL in item]
    names = dict.fromkeys(name for form in forms for name in form)
    return [reading for name in names if any(reading := [form.get(name, ()) for form in forms])]


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, list | tuple) else [value]
    return [written for item in items if (written := text(item))]


def _of_choice(task: Task, document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the right choice of a document by its letter, its text, and its place counted from 0 and from 1."""
    target, choices = task.target(document), list(map(str, task.choices(document)))
    targets = target if isinstance(target, list | tuple) else [target]
    if all(isinstance(item, str) for item in targets):
        places = [choices.index(item) for item in targets if item in choices]
        if not places:
            return {"target": _texts(list(targets))}
    else:
        places = [item for item in targets if isinstance(item, int) and 0 <= item < len(choices)]
    texts = [choices[place] for place in places]
    if "letters" in document:  # a file of one's own, whose prompt shows the texts of its choices
        choice_texts = dict(re.findall(r"^([A-Z])\. (.*)$", str(document["prompt"]), re.MULTILINE))
        texts = [choice_texts.get(letter, letter) for letter in texts]
    letters = [chr(ord("a") + place) for place in places]
    return {
        "letter": letters,
        "text": _texts(texts),
        "lettered text": [f"{letter}.{text}" for letter, text in zip(letters, _texts(texts), strict=False)],
        "place": [str(place) for place in places],
        "place from 1": [str(place + 1) for place in places],
    }
