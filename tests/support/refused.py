"""Files and folders that the operating system refuses, for tests that may run as root, who may read everything.

with refused(folder / "model.safetensors"): …
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_BELOW = ((os, "stat"), (os, "lstat"), (os, "listdir"), (os, "readlink"), (io, "open"), (builtins, "open"))


@contextmanager
def refused(*paths: Path, number: int = errno.EACCES) -> Iterator[None]:
    """Let opening and listing `paths`, and everything below those that are folders, fail as for another user's."""
    places = [os.fspath(path.absolute()) for path in paths]

    def refuse(path: Any, *, is_status: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        absolute = os.path.join(os.getcwd(), os.fsdecode(path))  # noqa: PTH109, PTH118 - "folder/." is below the folder
        for place in places:
            if absolute.startswith(f"{place}/") or (os.path.normpath(absolute) == place and not is_status):
                raise OSError(number, os.strerror(number), os.fspath(path))

    def guarded(function: Callable[..., Any], *, is_status: bool) -> Callable[..., Any]:
        def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            refuse(path, is_status=is_status)
            return function(path, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (*_BELOW, (os, "scandir"), (os, "open")):
            is_status = name in ("stat", "lstat", "readlink")
            patch.setattr(module, name, guarded(getattr(module, name), is_status=is_status))
        yield
