"""The site's data: script files, each with one JSON document, compressed, named after its content.

A page that is opened from disk may load scripts but read no files, so a document travels as the argument of a function
call: `harness.chunk("ID", "…")`, its JSON text compressed by deflate (RFC 1950) and written in base64. The same
document gives the same file, and a file that exists is not written again.

Not here: what the documents hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.common import atomic_write

FOLDER = "data"
_NAME = re.compile(r"[0-9a-f]{16}\.js")


class Chunks:
    """The data folder of a site that is being built."""

    def __init__(self, site: Path) -> None:
        self._folder = site / FOLDER
        self._used: dict[str, int] = {}

    def add(self, document: Any) -> str:
        """Write `document`, unless its file exists, and return its name. Raises OSError."""
        text = json.dumps(_finite(document), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        content = text.encode("utf-8", "backslashreplace")  # half of a surrogate pair becomes its escape in JSON
        name = hashlib.sha256(content).hexdigest()[:16]
        file = self._file(name)
        if name not in self._used and not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            packed = base64.b64encode(zlib.compress(content, 6)).decode()
            with atomic_write.file(file, tag="new") as hidden:
                hidden.write_text(f'harness.chunk("{name}", "{packed}");\n', encoding="utf-8")
        self._used[name] = file.stat().st_size
        return name

    def keep(self, name: str) -> bool:
        """Return whether a document of an earlier build is still there; if it is, it stays."""
        file = self._file(name)
        if not _NAME.fullmatch(file.name) or not file.is_file():
            return False
        self._used[name] = file.stat().st_size
        return True

    @property
    def size(self) -> int:
        """The bytes of all documents of this build."""
        return sum(self._used.values())

    def remove_others(self) -> None:
        """Delete the documents of earlier builds that this one does not use, and what a killed build left."""
        for file in self._folder.glob("*.js"):
            if _NAME.fullmatch(file.name) and file.stem not in self._used:
                file.unlink(missing_ok=True)
        for file in self._folder.glob(".*.js.new"):
            file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.js"


def _finite(value: Any) -> Any:
    """Return `value` with None in place of NaN and infinities, which JSON cannot express."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
