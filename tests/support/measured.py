"""When and on what a report of `make oracle` was made."""

from __future__ import annotations

import platform
from datetime import date
from importlib.metadata import version


def on(*packages: str) -> dict[str, str]:
    """Return today's date, the versions of `packages` and of Python, and the machine, as fields of a report's head."""
    return {
        "today": f"{date.today():%Y-%m-%d}",
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
