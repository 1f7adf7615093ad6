"""Where the files that travel with the library lie.

In a checkout `tasks/` and `leaderboard/` stand beside the package; in a wheel they travel as `harness/_tasks` and
`harness/_site`. Nothing else in the project knows the difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.errors import HarnessError

_IN_WHEEL = {"tasks": "_tasks", "leaderboard": "_site"}


def folder(name: Literal["tasks", "leaderboard"]) -> Path:
    """Return the absolute folder of `name`, wherever this installation keeps it."""
    package = Path(__file__).resolve().parents[1]
    packed = package / _IN_WHEEL[name]
    return packed if packed.is_dir() else package.parent / name


def cache() -> Path:
    """Return the user's cache folder for this project (`HARNESS_CACHE`, else XDG's), made if missing.

    Raises HarnessError if it cannot be made.
    """
    import os

    named = os.environ.get("HARNESS_CACHE")
    root = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "harness"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"cannot make the cache folder {root} ({error.strerror}): name one in HARNESS_CACHE"
        ) from error
    return root
