"""What a command line may not contain, whatever the verb: texts that are not UTF-8, and empty names.

The empty text comes from an unset variable (`harness verify "$REPORT"`). As a path it would be the working directory,
as a name the default one, so that the verb would do something else than was meant.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import typer.main

from harness.common import paths
from harness.errors import HarnessError

_FREE_TEXTS = ("TEXT", "KEY=VALUE", "MARKS")
"""The kinds of values (metavars) that may be empty."""


def require_text(arguments: Sequence[str]) -> None:
    """Raise HarnessError if an argument, or the mirror named in the environment, is not UTF-8.

    Reports hold only UTF-8, so the evaluation would end with an error when its report is written.
    """
    for argument in arguments:
        paths.require_text(argument, "an argument")
    paths.require_text(os.environ.get("HARNESS_DATA", ""), "HARNESS_DATA")


def command(app: typer.Typer) -> Any:
    """Return the command line `app` as a command that refuses empty names."""
    result = typer.main.get_command(app)
    _guard(result)
    return result


def _guard(command: Any) -> None:
    """Make every parameter at or below `command` refuse the empty text, unless its value is a free text."""
    for parameter in command.params:
        if getattr(parameter, "metavar", None) not in (None, *_FREE_TEXTS):
            parameter.process_value = functools.partial(_processed, parameter, parameter.process_value)
    for below in getattr(command, "commands", {}).values():
        _guard(below)


def _processed(parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """Return what `process` returns for a typed `value`. Raises HarnessError if the value is, or has, an empty text."""
    if value == "" or (isinstance(value, list | tuple) and "" in value):
        name = next((name for name in parameter.opts if name.startswith("--")), parameter.metavar)
        raise HarnessError(f"{name} is empty: name it, or leave it out (is a variable unset?)")
    return process(context, value)
