"""Dependencies: what runs, what develops, and what only lm-eval needs, each listed; and their audit.

`python tests/test_dependencies.py` writes constraints-lm-eval.txt.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "constraints-lm-eval.txt"
HEADER = """\
# The packages of constraints.txt that nothing but lm-eval asks for. They are installed, since lm-eval imports them, but
# harness itself imports none. Made by 'python tests/test_dependencies.py'.
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(requirements: list[str]) -> set[str]:
    """Return the names of the installed packages that `requirements` need here, directly or not."""
    visited: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        extras = tuple(sorted(requirement.extras))
        if (normal(requirement.name), extras) in visited:
            continue
        visited.add((normal(requirement.name), extras))
        try:
            below = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for child in map(Requirement, below):
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(child)
    return {name for name, _ in visited}


def project() -> dict[str, list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"run": settings["dependencies"], "dev": settings["optional-dependencies"]["dev"]}


def pins(name: str) -> set[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {normal(line) for line in re.findall(r"^([A-Za-z0-9][\w.-]*)", text, re.MULTILINE)}


def only_for_lm_eval() -> set[str]:
    run = project()["run"]
    return (needed(run) - needed([text for text in run if not text.startswith("lm-eval")])) & pins("constraints.txt")


def test_what_runs_and_what_develops_are_pinned_apart():
    assert not pins("constraints.txt") & pins("constraints-dev.txt")
    assert needed(project()["run"]) <= pins("constraints.txt")
    development = {normal(Requirement(text).name) for text in project()["dev"]}
    assert development <= pins("constraints-dev.txt") | pins("constraints.txt")


def test_what_only_lm_eval_needs_is_listed():
    advice = "run: python tests/test_dependencies.py"
    assert only_for_lm_eval() <= pins(LIST.name), advice
    installed = {normal(str(package.name)) for package in importlib.metadata.distributions()}
    assert pins(LIST.name) & installed <= only_for_lm_eval(), advice


def test_harness_imports_nothing_that_only_lm_eval_needs():
    modules = {
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if {normal(package) for package in packages} & (pins(LIST.name) - {"lm-eval"})
    }
    imports = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)
    for file in (ROOT / "harness").rglob("*.py"):
        assert not modules & set(imports.findall(file.read_text(encoding="utf-8"))), file


ADVISORY = {"id": "PYSEC-1", "fix_versions": ["2.0"]}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "no known vulnerability in 1 pins"),
        ([{"name": "a", "version": "1", "vulns": [ADVISORY]}], 1, "a 1: PYSEC-1, fixed in 2.0"),
        ([{"name": "a", "skip_reason": "?"}], 2, "1 of 1 pins are unknown to the advisory service (a)"),
        (None, 2, "the advisory service could not be reached (Errno 111)"),
    ],
)
def test_an_audit_never_takes_silence_for_safety(tmp_path, capsys, packages, code, words):
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    script = "import sys; sys.exit('Traceback\\nErrno 111')"
    if packages is not None:
        text = json.dumps({"dependencies": packages})
        script = f"import sys, pathlib; pathlib.Path(sys.argv[sys.argv.index('--output') + 1]).write_text({text!r})"
    assert audit.main(tmp_path / "pins.txt", (sys.executable, "-c", script)) == code
    assert words in capsys.readouterr().out


if __name__ == "__main__":
    LIST.write_text(HEADER + "".join(f"{name}\n" for name in sorted(only_for_lm_eval())), encoding="utf-8")
