"""Known vulnerabilities of pinned packages, by pip-audit: `audit.py PINS`.

Exit codes: 0 none is known of any pin; 1 some are; 2 a pin could not be audited, which is never "none known".
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 15
"""Seconds to wait for each answer of the service."""


def main(pins: Path, command: tuple[str, ...] = (sys.executable, "-m", "pip_audit")) -> int:
    """Print what is known about each package of `pins`, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "audit.json"
        options = ("--requirement", str(pins), "--no-deps", "--disable-pip", "--progress-spinner", "off")
        options += ("--timeout", str(TIMEOUT), "--format", "json", "--output", str(output))
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        if not output.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
            print(f"audit: the advisory service could not be reached ({last}): try where pypi.org is reachable")
            return 2
        packages = json.loads(output.read_text(encoding="utf-8"))["dependencies"]
    found = [(package, advisory) for package in packages for advisory in package.get("vulns", [])]
    for package, advisory in found:
        fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        names = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "") or "no pins"
        print(
            f"audit: {len(skipped)} of {len(packages)} pins are unknown to the advisory service ({names}): "
            "try where pypi.org itself is reachable"
        )
    if found:
        return 1
    if skipped or not packages:
        return 2
    print(f"audit: no known vulnerability in {len(packages)} pins")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
