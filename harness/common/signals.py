"""Signals that ask this process to stop: SIGINT (Ctrl-C), SIGTERM and SIGHUP end it in the same, orderly way.

The first signal raises `Stopped`, a KeyboardInterrupt, in the main thread: what is being computed is dropped, what is
half-written is removed, files are closed. A later signal ends the process at once, as SIGKILL would. Two signals within
`ECHO` seconds count as one: a terminal that closes, and a program that starts this one, often pass a signal on twice.
A signal that is ignored when the process starts stays ignored: `nohup` does this with SIGHUP, a shell with SIGINT for
commands in the background.

`deferred` holds the exception back until a short block is over, such as the removal of a half-written folder. An
exception raised in a callback (of the garbage collector, for example) is lost. Work that is done in steps therefore
calls `check`.

Not here: what is said to the user (`harness.cli.stopping`). Without `listen`, as in a program that imports this
package, nothing here has an effect, and Ctrl-C is Python's.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import Signals
from types import FrameType

ECHO = 0.1
"""Seconds within which a further signal is a repetition of the first."""
_SHOW_CURSOR = b"\x1b[?25h"


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""


class _State:
    """What has happened since `listen`."""

    received: Signals | None = None
    """The first signal."""
    at: float = 0.0
    """When the first signal arrived, in seconds of the monotonic clock."""
    was_raised: bool = False
    deferrals: int = 0
    """Number of `deferred` blocks that are running."""


_state = _State()


def listen() -> None:
    """Raise `Stopped` at the first of the signals that are not ignored; call it from the main thread."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(Signals, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def received() -> Signals | None:
    """Return the signal that asked this process to stop, or None."""
    return _state.received


def exit_code() -> int:
    """Return the exit code of a process that stops: 128 plus the signal's number, or 130 for Python's own Ctrl-C."""
    return 128 + (_state.received or Signals.SIGINT)


def check() -> None:
    """Raise `Stopped` if a signal has arrived and its exception was lost."""
    if _state.received is not None and not _state.deferrals:
        _raise()


@contextmanager
def deferred() -> Iterator[None]:
    """Let the block run to its end; if a signal arrives in it, raise `Stopped` afterwards."""
    _state.deferrals += 1
    try:
        yield
    finally:
        _state.deferrals -= 1
    if _state.received is not None and not _state.was_raised:
        check()


def _raise() -> None:
    _state.was_raised = True
    assert _state.received is not None
    raise Stopped(_state.received.name)


def _handle(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _state.received is None:
        _state.received, _state.at = Signals(number), now
        check()
    elif now - _state.at > ECHO:
        with suppress(OSError):  # a progress bar hides the cursor
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
        os._exit(128 + number)
