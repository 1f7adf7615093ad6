"""Folders of the installation: the files packaged with the library, and the user's cache.

In a checkout, `tasks/` and `leaderboard/` are beside the package; in a wheel they are `harness/_tasks` and
`harness/_site`. No other module needs to know which of the two it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.errors import HarnessError

_IN_WHEEL = {"tasks": "_tasks", "leaderboard": "_site"}


def folder(name: Literal["tasks", "leaderboard"]) -> Path:
    """Return the absolute path of the packaged folder `name` in this installation."""
    package = Path(__file__).resolve().parents[1]
    in_wheel = package / _IN_WHEEL[name]
    return in_wheel if in_wheel.is_dir() else package.parent / name


def cache() -> Path:
    """Return the user's cache folder (`HARNESS_CACHE`, else `harness` in XDG's cache folder); create it if missing.

    Raises HarnessError if the folder cannot be created.
    """
    import os

    setting = os.environ.get("HARNESS_CACHE")
    root = Path(setting) if setting else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "harness"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"cannot create the cache folder {root} ({error.strerror}): set HARNESS_CACHE to another folder"
        ) from error
    return root
