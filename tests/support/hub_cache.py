"""The folders that the hub's client leaves in its cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def fetched(hub: Path, name: str, contents: dict[str, bytes], revision: str = "main") -> Path:
    """Lay `contents` out as the hub's client leaves them; return the snapshot folder."""
    root = hub / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True)
    (root / "refs" / revision).write_text(COMMIT)
    for file, content in contents.items():
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot
