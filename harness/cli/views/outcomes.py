"""Shows a gate's outcome wherever it goes: to the terminal, to the files that options name, and to GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from harness.cli import outputs
from harness.cli.outputs import Document
from harness.cli.views import verdicts
from harness.common import console
from harness.verdicts import render
from harness.verdicts.texts import OutcomeText


def show(text: OutcomeText, *, error: bool) -> None:
    """Print the outcome of a gate and, in GitHub Actions, annotations; to standard error if `error`."""
    out = console.create(error=error)
    try:
        verdicts.show_outcome(out, text)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in render.as_annotations(text):
                out.out(line, highlight=False)
    except OSError:  # nobody reads on (| head): the exit code still tells the verdict
        outputs.discard_output()


def documents(text: OutcomeText, files: Mapping[str, str | None]) -> Iterator[Document]:
    """Yield the documents that `files` (option → file) names and, in GitHub Actions, the step summary."""
    renderers = {
        "--json": lambda: render.as_json(text),
        "--junit": lambda: render.as_junit(text, datetime.now(UTC)),
        "--markdown": lambda: render.as_markdown(text),
    }
    for option, file in files.items():
        if file is not None:
            yield Document(renderers[option], file, option)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        yield Document(renderers["--markdown"], summary, "GITHUB_STEP_SUMMARY", append=True)
