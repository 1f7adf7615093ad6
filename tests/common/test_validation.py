"""The first problem of a document that does not fit its model."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, ValidationError

from harness.common import validation


def _even(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd: write an even number")
    return number


class Part(BaseModel):
    count: Annotated[int, AfterValidator(_even)]


class Whole(BaseModel):
    parts: list[Part]


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        ({"parts": [{"count": 2}, {"count": 3}]}, "parts.1.count", "3 is odd: write an even number"),
        ({"parts": [{}, {"count": 3}]}, "parts.0.count", "Field required"),
        ([], "", "Input should be a valid dictionary or instance of Whole"),
    ],
)
def test_the_first_problem_is_named_by_its_place(content: object, path: str, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(content)
    problem = validation.first_problem(error.value)
    assert (problem.path, problem.message) == (path, message)
