"""The command line: one short file a verb, which parses, calls the library, and prints.

Exit codes: 0 done, 1 and 3 verdicts of `gate`, 2 wrong usage or input (one sentence on standard error), 130 Ctrl-C,
70 a bug, which keeps its traceback: Python's own 1 would be a verdict.
`harness --help` imports no torch: verbs import what they need when they run.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper

BUG = 70
"""EX_SOFTWARE of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments` (default: the process's) and return its exit code."""
    _quiet()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that cannot show a dash gets a question mark, no traceback
            stream.reconfigure(errors="replace")
    from harness.cli.app import app
    from harness.common import slow_imports
    from harness.errors import HarnessError

    if arguments is None:
        slow_imports.own_process()
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="harness")
    except SystemExit as stop:  # typer has told of wrong usage, and turns Ctrl-C into 130
        return int(stop.code or 0)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `harness show … | head`: nobody is left to be told anything
        discard_output()
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            print(f"error: no space is left for {error.filename or 'the output'}: make room", file=sys.stderr)
            return 2
        traceback.print_exc()
        return BUG
    return 0


def names(listed: str | None) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


def discard_output() -> None:
    """Send what is still printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _quiet() -> None:
    """Keep libraries from talking over the results; must happen before they are imported."""
    import logging
    import warnings

    for name, value in {
        "TQDM_DISABLE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_VERBOSITY": "critical",
        "TRANSFORMERS_VERBOSITY": "critical",
        "DATASETS_VERBOSITY": "critical",
        "TOKENIZERS_PARALLELISM": "true",
    }.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    for name in ("lm_eval", "lm-eval", "huggingface_hub", "datasets", "transformers", "bitsandbytes", "httpx"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
