"""How a verification looks: a table in a terminal, one line for each check in a pipe or file, and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from harness.common.console import Console, escape
from harness.reports.numbers_in_words import counted
from harness.verification.checks import FAILS, HOLDS, UNKNOWN, Check, Result, Verification

_COLORS: dict[Result, str] = {HOLDS: "green", FAILS: "bold red", UNKNOWN: "yellow"}


def show(out: Console, verification: Verification) -> None:
    """Print the checks of one report, with equal outcomes of several tasks in one line, and then the summary."""
    title = verification.checkpoint or verification.folder.name
    out.print(f"[bold]{escape(title)}[/]  {escape(str(verification.folder))}", highlight=False)
    rows = [(check, tasks, _detail(check, tasks)) for check, tasks in _grouped(verification.checks)]
    if out.is_terminal:
        table = Table()
        for heading in ("check", "task", "result", "detail"):
            table.add_column(heading, overflow="fold")
        for check, tasks, detail in rows:
            result = f"[{_COLORS[check.result]}]{check.result}[/]"
            table.add_row(check.name, escape(_named(tasks)), result, escape(detail))
        out.print(table)
    else:
        for check, tasks, detail in rows:
            where = f"{check.name} of {_named(tasks)}" if tasks else check.name
            line = f"{check.result}: {where}: {detail}"
            out.print(escape(line), highlight=False, soft_wrap=True)
    out.print(summary(verification), highlight=False)


def summary(verification: Verification) -> str:
    """Return in words how many checks hold, do not hold, and could not be made."""
    holds, fails, unknown = (verification.count(result) for result in (HOLDS, FAILS, UNKNOWN))
    verb = "holds" if fails == 0 else "does not hold"
    return (
        f"what could be checked {verb}: {counted(holds, 'check')} hold, {fails:,} do not, {unknown:,} could not be made"
    )


def _grouped(checks: Sequence[Check]) -> list[tuple[Check, list[str]]]:
    """Return each check with its tasks, failed checks first; checks that differ only by their task become one."""
    groups: dict[tuple[str, str, str], tuple[Check, list[str]]] = {}
    for check in sorted(checks, key=lambda check: check.result != FAILS):
        detail = "" if check.result == HOLDS and check.task else check.detail
        _, tasks = groups.setdefault((check.name, check.result, detail), (check, []))
        tasks += [check.task] if check.task else []
    return list(groups.values())


def _named(tasks: Sequence[str]) -> str:
    """Return in words the tasks of a line: the name of a single task, or how many there are."""
    return tasks[0] if len(tasks) == 1 else f"{len(tasks):,} tasks" if tasks else ""


def _detail(check: Check, tasks: Sequence[str]) -> str:
    """Return the detail shown for a check; if it holds for several tasks, the detail of the first is an example."""
    is_example = check.result == HOLDS and len(tasks) > 1
    return f"{check.detail} ({tasks[0]}; the others likewise)" if is_example else check.detail


def as_json(verifications: Sequence[Verification]) -> str:
    """Return all checks as JSON: one entry for each report."""
    reports = [
        {
            "report": str(verification.folder),
            "checkpoint": verification.checkpoint,
            "holds": verification.holds,
            "checks": [check._asdict() for check in verification.checks],
        }
        for verification in verifications
    ]
    return json.dumps({"reports": reports}, ensure_ascii=False, indent=1) + "\n"
