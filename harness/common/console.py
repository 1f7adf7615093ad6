"""The console: rich's, with everything that is printed filtered by `harness.common.terminal`.

A name may contain what looks like markup, so `escape` names before they are printed. Not here: what is printed
(`harness.cli.views`), or progress (`harness.common.progress`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment
from rich.text import Text

from harness.common import terminal

PIPE_WIDTH = 160
"""Columns of output that is not a terminal."""


class Console(console.Console):
    """A console that shows names and answers as they are, without the characters that a terminal obeys.

    If nobody reads the output any more, it is discarded; rich would end the process, and the run with it.
    """

    def on_broken_pipe(self) -> None:
        """Discard what is printed from now on."""
        terminal.discard(self.file)  # type: ignore[arg-type]

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as rich does, filtered before its width is measured."""
        return super().render_str(terminal.lines(text), **options)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        """Return the characters for `buffer`; what did not come in as a string is filtered here."""
        return super()._render_buffer(
            segment if segment.control else segment._replace(text=terminal.lines(segment.text)) for segment in buffer
        )


def create(*, error: bool = False) -> Console:
    """Return a console for standard output, or for standard error if `error`.

    A pipe gets plain text, wide enough that no number is cut.
    """
    result = Console(stderr=error, emoji=False)  # `:smile:` stays
    return result if result.is_terminal else Console(stderr=error, emoji=False, width=PIPE_WIDTH)


_TAG = re.compile(r"(?<!\\)(\\*+)(\[[a-z#/@][^[]*?\])")
"""What rich reads as markup, and the backslashes before it."""


def escape(text: str) -> str:
    """Return markup that shows `text` as it is, on one line: `rich.markup.escape` in linear time."""
    escaped = _TAG.sub(r"\1\1\\\2", terminal.line(text))
    return f"{escaped}\\" if escaped.endswith("\\") and not escaped.endswith("\\\\") else escaped
