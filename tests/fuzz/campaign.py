"""`make fuzz`: every reader on nearly valid inputs for minutes, with atheris if it is installed, else with hypothesis.

    python tests/fuzz/campaign.py [SECONDS]

SECONDS is the time for all groups of readers together, 600 by default. atheris (the extra `fuzz`) chooses inputs by the
branches of `harness` that they reach; hypothesis chooses them at random. An input for which a reader is unsound is
printed, and the exit code is 1.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600


def main() -> int:
    """Fuzz all groups, each in a process of its own, and return the exit code."""
    if sys.argv[1:2] == ["--group"]:
        name, seconds = sys.argv[2], float(sys.argv[3])
        return fuzz(name, seconds)
    from support.fuzz_readers import GROUPS

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    tool = "atheris" if importlib.util.find_spec("atheris") else "hypothesis, because atheris is not installed"
    print(f"{len(GROUPS)} groups of readers, {seconds / len(GROUPS):.0f} seconds each, with {tool}", flush=True)
    unsound = []
    for name in GROUPS:
        started = time.monotonic()
        command = [sys.executable, __file__, "--group", name, str(seconds / len(GROUPS))]
        code = subprocess.run(command, check=False).returncode
        print(f"{name}: {'sound' if code == 0 else 'UNSOUND'} ({time.monotonic() - started:.0f} s)", flush=True)
        unsound += [name] if code else []
    return 1 if unsound else 0


def fuzz(name: str, seconds: float) -> int:
    """Fuzz the group `name`, and return 0 if no reader is unsound."""
    warnings.simplefilter("ignore")
    if importlib.util.find_spec("atheris"):
        import atheris

        with atheris.instrument_imports(include=["harness"]):
            from support.fuzz_checks import accepting, require_sound
            from support.fuzz_readers import GROUPS
    else:
        from support.fuzz_checks import accepting, require_sound
        from support.fuzz_readers import GROUPS
    from hypothesis import HealthCheck, Phase, given, settings

    group = GROUPS[name]
    accepting(group)
    tried = 0

    def check(value: object) -> None:
        nonlocal tried
        tried += 1
        require_sound(group, value)

    options = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    phases = [Phase.generate, Phase.shrink]
    if not importlib.util.find_spec("atheris"):
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            settings(max_examples=200, phases=phases, **options)(given(group.inputs)(check))()
        print(f"{name}: {tried:,} inputs", flush=True)
        return 0
    target = settings(phases=phases, **options)(given(group.inputs)(check))
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={int(seconds)}", "-max_len=8192", "-timeout=60", "-rss_limit_mb=4096"],
        lambda data: (target.hypothesis.fuzz_one_input(data), None)[1],
    )
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
