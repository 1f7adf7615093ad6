"""How the demo's story looks in a terminal."""

from __future__ import annotations

from typing import Any

from harness.cli.views.family import family_table
from harness.cli.views.stages import stage_line
from harness.common import console
from harness.demo import story
from harness.demo.story import Event
from harness.reports import ledger, numbers_in_words
from harness.reports.report import Report
from harness.training.stages import Trained

_LEGEND = """\
Each cell: the score in %, and below it its 95 % interval. ▲ ▼: above or below the parent, with
intervals that do not overlap. Chance: the score of the answer to another question. Ceiling: the
score of the right answer; in advertising, of another text by the same writer."""


def show_event(event: Event) -> None:
    """Print one event of the demo."""
    out = console.create()
    plain: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
    match event:
        case story.Message(text):
            out.print(text if text.startswith(" ") else f"\n{text}", **plain)
        case story.Command():
            out.print(f"$ {event}", style="bold cyan", **plain)
        case story.Page(file):
            out.print(f"Open the leaderboard in a browser: {file}", **plain)
        case Trained():
            out.print(stage_line(event), **plain)
        case Report():
            out.print(_report_line(event), **plain)
        case story.Compared(reports):
            out.print(family_table(reports, {member.name: member.parent for member in story.FAMILY}))
            out.print(_LEGEND, highlight=False)
            if any(ledger.has_doubts(report.manifest) for report in reports):
                out.print(ledger.LEGEND, highlight=False)


def _report_line(report: Report) -> str:
    manifest = report.manifest
    kind = manifest.checkpoint.quantization or manifest.checkpoint.kind
    requests = manifest.engine.requests if manifest.engine else 0
    seconds = numbers_in_words.duration(manifest.seconds)
    return f"{manifest.checkpoint.name:10} {kind:8} {requests:,} requests, {seconds} → {report.folder}"
