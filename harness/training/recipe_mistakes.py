"""What is wrong with the content of a recipe, in the words of its reader.

Not here: the sentence around it, which names the file and the line (`harness.training.recipe`), and settings of
libraries (`harness.training.settings`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from harness.errors import did_you_mean
from harness.training.other_names import NOT_NEEDED, OF_CORPORA

LONGEST_NAME = 200
"""Largest number of bytes of a stage's name. Files beside its folder have longer names, of at most 255 bytes."""
_NAME = re.compile(r"\w[\w.-]*")
_MAPPINGS = {
    (): "a mapping with corpora and stages",
    ("corpora",): "a mapping of names to corpora",
    ("corpora", "*"): "a path or a mapping with a file",
    ("stages",): "a mapping of names to stages",
    ("stages", "*"): "a mapping of settings to values",
    ("stages", "*", "corpora"): "a list of corpora, or a mapping of corpora to weights",
}
"""What belongs at a place in a recipe; `*` is any name."""


class Mistake(NamedTuple):
    """Something that is wrong with a recipe."""

    place: tuple[str, ...]
    """Names and positions that lead to it, outermost first; empty if it is the whole recipe."""
    message: str
    """What is wrong, and what to do."""


_CORRECT = "; correct the recipe"


def spelled(value: object) -> str:
    """Return a value of YAML as a recipe may write it, shortened; lists and mappings are named."""
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    text = value.isoformat() if isinstance(value, datetime.date) else str(value)
    text = text if len(text) <= 60 else f"{text[:60]}…"
    return f"'{text}'" if isinstance(value, str) else text


def in_names(content: Mapping[str, Any]) -> Mistake | None:
    """Return what is wrong with a name of a corpus or stage in the recipe `content`, or None."""
    for section in ("corpora", "stages"):
        entries = content.get(section)
        for name in entries if isinstance(entries, Mapping) else ():
            if problem := _in_name(name, is_stage=section == "stages"):
                place = "null" if name is None else spelled(name).strip("'")
                return Mistake((section, name if isinstance(name, str) else place), problem)
    return None


def _in_name(name: object, *, is_stage: bool) -> str:
    if not isinstance(name, str):
        text = "null" if name is None else spelled(name)
        return f"YAML reads the name {text} as something other than a text: put it in quotes"
    if not _NAME.fullmatch(name):
        return "a name consists of letters, digits, '_', '-' and '.', and does not begin with '-' or '.': rename it"
    if is_stage and len(name.encode()) > LONGEST_NAME:
        return f"a name of {len(name):,} characters is too long for the stage's folder: shorten it"
    return ""


def in_corpora(content: Mapping[str, Any], known: Collection[str]) -> Mistake | None:
    """Return which setting of a corpus in the recipe `content` is none of `known`, or None."""
    entries = content.get("corpora")
    for corpus, settings in entries.items() if isinstance(entries, Mapping) else ():
        for name in settings if isinstance(settings, Mapping) else ():
            if name not in known:
                message = f"there is no '{name}'{_hint(str(name), known)}{_CORRECT}"
                return Mistake(("corpora", corpus, str(name)), message)
    return None


def _hint(name: str, known: Collection[str]) -> str:
    if name in OF_CORPORA:
        return f": write {OF_CORPORA[name]}"
    return f": {NOT_NEEDED[name]}" if name in NOT_NEEDED else did_you_mean(name, known)


def first(error: ValidationError) -> Mistake:
    """Return the first mistake that `error`, of the model of a recipe, lists."""
    errors = error.errors()
    # Of a list or mapping, the errors of both are listed.
    listed = [e for e in errors if not (e["type"] == "dict_type" and isinstance(e["input"], list) and len(errors) > 1)]
    problem = (listed or errors)[0]
    place = tuple(str(part) for part in problem["loc"] if not re.match(r"(dict|list)?\[", str(part)))
    kind, value = problem["type"], problem["input"]
    if kind == "missing":
        return Mistake(place[:-1], f"it states no '{place[-1]}': add it")
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type", "list_type"):
        pattern = (*place[:1], *("*" for _ in place[1:2]), *place[2:])
        expected = _MAPPINGS.get(pattern) or ("a list" if kind == "list_type" else "a mapping")
        return Mistake(place, f"it is {spelled(value)}, not {expected}{_CORRECT}")
    if kind == "too_short":
        return Mistake(place, "it is empty: name at least one")
    if kind in ("string_type", "path_type"):
        expected = "a path" if kind == "path_type" else "a text"
        return Mistake(place, f"it is {spelled(value)}, not {expected}{_CORRECT}")
    message = problem["msg"].removeprefix("Value error, ")
    return Mistake(place, f"{message[:1].lower()}{message[1:]}{_CORRECT}")
