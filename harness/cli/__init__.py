"""The command line: for each verb, one short file that parses options, calls the library and prints.

Exit codes:

- 0: the command is done.
- 1: `gate` found a regression, `journal check` damage, or `verify` a claim that does not hold.
- 2: usage or input is wrong; one sentence on standard error says how.
- 3: the verdict of `gate` is inconclusive.
- 4: done, except for what failed and was left out (`--keep-going`).
- 70: a bug, with its traceback. (Python's usual code is 1, which is a verdict of `gate`.)
- 129: stopped by SIGHUP.
- 130: stopped by Ctrl-C.
- 141: a pipe was closed while typer or a library wrote to it. What a verb prints to a closed pipe is discarded, and its
  exit code stays as it is.
- 143: stopped by SIGTERM.

`harness --help` imports no torch: each verb imports what it needs when it runs.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from io import StringIO, TextIOWrapper
from typing import Any

from harness.common import places, terminal

BUG = 70
"""The exit code of a bug: EX_SOFTWARE of sysexits.h."""
CLOSED_PIPE = 141
"""The exit code of a shell for a process that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments` (default: the process's own) and return its exit code."""
    from harness.common import signals

    if arguments is None:
        signals.listen()
    try:
        code = _run(arguments)
    except KeyboardInterrupt:
        code = signals.exit_code()
    if signals.received() is not None and code == signals.exit_code():
        from harness.cli import stopping

        stopping.say(stopping.ANEW)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit code; Ctrl-C may raise KeyboardInterrupt instead."""
    from harness.cli.quiet import quiet_libraries
    from harness.common import signals

    quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that cannot show a dash gets a question mark, no traceback
            stream.reconfigure(errors="replace")
    from harness.cli import arguments as command_line
    from harness.cli.app import WRONG_USAGE, app
    from harness.common import slow_imports
    from harness.errors import HarnessError

    if arguments is None:
        slow_imports.declare_own_process()
    try:
        texts = list(sys.argv[1:] if arguments is None else arguments)
        command_line.require_text(texts)
        # typer itself prints a wrong argument unfiltered, and takes the EOFError of a damaged file for missing input.
        code = command_line.command(app)(args=texts, prog_name="harness", standalone_mode=False)
        if code == 130:  # what typer makes of KeyboardInterrupt, whatever the signal
            return signals.exit_code()
        return code if isinstance(code, int) else 0
    except HarnessError as error:
        signals.check()  # a library turned the exception of a signal into one of its own
        terminal.echo(f"error: {error}", error=True)
        return 2
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also a panic of a library in Rust, or a library that ends the process
        signals.check()
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):  # by typer
            terminal.echo(f"error: a pipe was closed ({error.__context__})", error=True)
            return CLOSED_PIPE
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            place = error.filename or "the output"
            terminal.echo(f"error: no space is left for {place}: free some space", error=True)
            return 2
        if places.is_refusal(error) and error.filename:
            terminal.echo(f"error: {places.explained(error, action='used')}", error=True)
            return 2
        if isinstance(error, WRONG_USAGE):
            return _explain(error)
        terminal.write(traceback.format_exc(), sys.stderr)
        return BUG


def _explain(error: Any) -> int:
    """Print what typer says about wrong usage, without the name of its exception, and return the exit code."""
    text = StringIO()
    error.show(text)
    terminal.write(text.getvalue().replace(": Value error, ", ": "), sys.stderr)
    return int(error.exit_code)
