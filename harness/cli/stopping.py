"""What a verb says when a signal stops it: one sentence on what is kept and how to continue.

Not here: the signals themselves (`harness.common.signals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals

import typer

from harness.common import signals
from harness.common.terminal import echo


@contextmanager
def says(sentence: str | Callable[[], str]) -> Iterator[None]:
    """If a signal stops the `with` block, print the `sentence` on what is kept, and exit with its code."""
    try:
        yield
    except KeyboardInterrupt:
        say(sentence if isinstance(sentence, str) else sentence())
        raise typer.Exit(signals.exit_code()) from None


_was_said = False


def say(sentence: str) -> None:
    """Print which signal stopped the process, and `sentence`; nothing if that was printed before."""
    global _was_said
    if _was_said:
        return
    _was_said = signals.received() is not None
    number = signals.received() or Signals.SIGINT
    by = "" if number == Signals.SIGINT else f" by {number.name}"
    with suppress(OSError):  # a terminal that has gone away
        echo("", f"interrupted{by}. {sentence}", error=True)


def with_journal(output: Path, reports: Callable[[], list[Path]] = list) -> Callable[[], str]:
    """Return a function whose text says that `reports`, and answers in the journal of the folder `output`, are kept."""

    def sentence() -> str:
        from harness.backends import journal as journals

        complete = f"Complete reports: {', '.join(map(str, reports())) or 'none'}. "
        journal = output / journals.NAME
        if not journal.exists():
            return f"{complete}Run the same command again to start anew."
        return f"{complete}Answers so far are in {journal}: run the same command again to continue."

    return sentence


ANEW = "Nothing is left half-written: run the same command again to start anew."


def with_stages(folder: Path) -> str:
    """Return the sentence that finished stages are kept in `folder`."""
    return f"Finished stages stay in {folder}: run the same command again to continue."
