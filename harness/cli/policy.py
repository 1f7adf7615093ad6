"""The policy of a gate: read from a file, or the default; options of the command line override it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.verdicts.policy import Policy


def load_policy(file: Path | None, margin: str | None, alpha: float | None) -> Policy:
    """Return the policy in `file`, or the default policy if it is None.

    `margin` and `alpha`, if not None, replace the policy's own. Raises HarnessError if the file cannot be used, or if
    `margin` or `alpha` is out of range.
    """
    from pydantic import ValidationError

    from harness.common import validation
    from harness.errors import HarnessError
    from harness.verdicts.policy import Policy, read

    policy = Policy.model_validate({}) if file is None else read(file)
    options = {name: value for name, value in (("margin", margin), ("alpha", alpha)) if value is not None}
    try:
        return Policy.model_validate({name: getattr(policy, name) for name in Policy.model_fields} | options)
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"--{problem.place[0]} cannot be used: {problem.message}") from error
