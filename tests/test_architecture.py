"""The rooms of `harness/` import downwards only, without circles, as docs/architecture.md draws it.

Every import counts, also those inside functions and under TYPE_CHECKING: a name that a module needs is an arrow,
whenever it is resolved.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOWEST = {"errors", "common"}
"""Rooms that every room may import; they import nothing but `errors`."""
HEAVY = {"torch", "transformers", "peft", "lm_eval", "accelerate", "bitsandbytes"}
LIGHT_ROOMS = ("reports", "verdicts", "leaderboard", "metrics", "data", "common")
"""Rooms that import none of `HEAVY`, neither themselves nor by what they import."""

Edges = dict[str, set[str]]
"""Dotted module name → dotted names of what it imports; modules of `harness` without their `harness.`."""


def modules(package: Path) -> dict[str, Path]:
    """Return every module below `package` by dotted name, packages by their own (`cli` for `cli/__init__.py`)."""
    names = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


@functools.cache
def statements(text: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return the import statements of a module; nearly all files of a changed copy are those of the original."""
    return tuple(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom))


def imported(file: Path, known: set[str]) -> Iterator[str]:
    """Yield what `file` imports: our modules without their `harness.`, and the top-level names of others."""
    for node in statements(file.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            below = {f"{base}.{alias.name}" for alias in node.names}
            targets = [name if name.removeprefix("harness.") in known else base for name in sorted(below)]
        for target in targets:
            yield target.removeprefix("harness.") if target.startswith("harness.") else target.split(".")[0]


def imports(package: Path) -> Edges:
    """Return the imports of every module below `package`."""
    files = modules(package)
    known = set(files)
    return {name: set(imported(file, known)) - {name} for name, file in files.items() if name}


def room(module: str) -> str:
    """Return the room that `module` is in."""
    return module.split(".")[0]


def arrows(page: str) -> dict[str, set[str]]:
    """Return the rooms that each room may import, by the lines `room → a, b` of the architecture page."""
    drawn = {}
    for line in page.splitlines():
        for source, targets in re.findall(r"(?:^|\s{3,})([a-z]+) → ([a-z]+(?:, [a-z]+)*)", line):
            drawn[source] = set(targets.split(", "))
    return drawn


def forbidden(edges: Edges, allowed: dict[str, set[str]]) -> list[str]:
    """Return the imports that no arrow allows, each as `module imports module`."""
    rooms = {room(module) for module in edges}
    everything = {name for name, targets in allowed.items() if targets == {"all"}}
    return [
        f"{module} imports {target}"
        for module, targets in sorted(edges.items())
        for target in sorted(targets)
        if room(target) in rooms - {room(module)} - LOWEST
        and room(target) not in allowed.get(room(module), set())
        and room(module) not in everything
    ]


def circles(edges: Edges) -> list[str]:
    """Return the circles among modules, each as `a → b → a`, the first found from every module."""
    done: set[str] = set()
    found: list[str] = []

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append(" → ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(edges):
        visit(module, [])
    return found


def reached(edges: Edges, start: str) -> set[str]:
    """Return everything that importing `start` may import, directly or not."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += edges.get(module, ())
    return seen


@pytest.fixture(scope="module")
def edges() -> Edges:
    return imports(ROOT / "harness")


@pytest.fixture(scope="module")
def allowed() -> dict[str, set[str]]:
    return arrows((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


def test_every_room_is_drawn(edges: Edges, allowed: dict[str, set[str]]) -> None:
    rooms = {room(module) for module in edges}
    named = set(allowed).union(*allowed.values()) - {"all"}
    assert rooms == named | LOWEST


def test_imports_follow_the_arrows(edges: Edges, allowed: dict[str, set[str]]) -> None:
    assert forbidden(edges, allowed) == []


def test_the_lowest_rooms_import_nothing_of_ours_but_errors(edges: Edges) -> None:
    ours = {target for module, targets in edges.items() if room(module) in LOWEST for target in targets}
    assert {room(target) for target in ours if target in edges} <= LOWEST


def test_no_module_imports_itself_by_way_of_others(edges: Edges) -> None:
    assert circles(edges) == []


@pytest.mark.parametrize("name", LIGHT_ROOMS)
def test_a_light_room_imports_no_model_library(edges: Edges, name: str) -> None:
    for module in edges:
        if room(module) == name:
            assert reached(edges, module) & HEAVY == set(), module


@pytest.mark.parametrize("helpers", sorted((ROOT / "tasks").glob("*/utils.py")), ids=lambda file: file.parent.name)
def test_a_tasks_helpers_import_metrics_and_protocols_only(helpers: Path) -> None:
    ours = {name for name in imported(helpers, set(modules(ROOT / "harness"))) if name in modules(ROOT / "harness")}
    assert {name for name in ours if not name.startswith(("metrics.", "tasks.protocols."))} == set()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to plant faults in."""
    return Path(shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__")))


def plant(package: Path, module: str, line: str) -> Edges:
    """Add `line` to `module`, inside a function, and return the imports of the package then."""
    with (package / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef _planted() -> None:\n    {line}\n")
    return imports(package)


@pytest.mark.parametrize(
    ("module", "line", "named"),
    [
        ("metrics/text/ngrams.py", "from harness.runs import options", "metrics.text.ngrams imports runs.options"),
        ("reports/report.py", "import harness.engine.engine", "reports.report imports engine.engine"),
        (
            "engine/scoring.py",
            "from harness.backends.journal import Journal",
            "engine.scoring imports backends.journal",
        ),
    ],
)
def test_a_planted_wrong_import_is_found(
    copy: Path, allowed: dict[str, set[str]], module: str, line: str, named: str
) -> None:
    assert forbidden(plant(copy, module, line), allowed) == [named]


def test_a_planted_circle_is_found(copy: Path) -> None:
    edges = plant(copy, "metrics/text/ngrams.py", "from harness.metrics.text import overlap")
    assert any(
        "metrics.text.ngrams → metrics.text.overlap → metrics.text.ngrams" in circle
        or "metrics.text.overlap → metrics.text.ngrams → metrics.text.overlap" in circle
        for circle in circles(edges)
    )


def test_a_planted_model_library_is_found(copy: Path) -> None:
    edges = plant(copy, "metrics/text/ngrams.py", "import torch")
    assert "torch" in reached(edges, "verdicts.compare")
