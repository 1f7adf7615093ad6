"""Pydantic models of files: a base that refuses unknown keys, and the first problem of a ValidationError in words.

One problem is enough, because a reader corrects it and tries again. Not here: the sentence around it, which names the
file or option and what to do; each caller writes its own.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """A model that refuses unknown keys, so that a newer format is never read in part."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(NamedTuple):
    """A value that does not fit the pydantic model for it."""

    place: tuple[str, ...]
    """Names and positions that lead to the value, outermost first; empty if the whole document is wrong."""
    message: str
    """What is wrong with the value, in the words of pydantic or of this project's validators."""

    @property
    def path(self) -> str:
        """The place, joined with dots: `stages.lora.steps`."""
        return ".".join(self.place)


def first_problem(error: ValidationError) -> Problem:
    """Return the first problem that `error` lists, without the words that pydantic puts before a validator's own."""
    first = error.errors()[0]
    return Problem(tuple(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))
