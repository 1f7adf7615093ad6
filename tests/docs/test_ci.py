"""The action and the examples of docs/ci.md: their shell runs in bash with a build's variables, on invented reports."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from harness.cli.app import app
from support.answered import Answers, report

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
EXAMPLES = {
    text.partition("\n")[0].removeprefix("# "): yaml.safe_load(text)
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
GITHUB, GITLAB = EXAMPLES[".github/workflows/gate.yml"], EXAMPLES[".gitlab-ci.yml"]
RIGHT = [1] * 600 + [0] * 400

# In place of the program: `run` leaves an invented report in its output folder, since no evaluation can be invented,
# and a --model stands for another such report. All else is the program itself.
PROGRAM = f"""#!{sys.executable}
import shutil, sys
words = sys.argv[1:]
if words[0] == "run":
    shutil.copytree("baseline", words[words.index("-o") + 1])
    sys.exit(0)
if "--model" in words:
    for option in ("--model", "--tasks", "--data"):
        at = words.index(option)
        del words[at : at + 2]
    words.append("candidate")
sys.path.insert(0, {str(ROOT)!r})
from harness.cli import main
sys.exit(main(words))
"""
# A program that writes its arguments into a file.
RECORDER = """#!/bin/bash
printf '%s\\n' "$@" > arguments
exit 2
"""


class Done(NamedTuple):
    """What a step did."""

    code: int
    output: str
    outputs: dict[str, str]
    summary: str


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A build's folder, with a program called harness and two reports."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    install(tmp_path, "harness", PROGRAM)
    for name, scores in {"baseline": RIGHT, "candidate": [0] * 60 + RIGHT[60:]}.items():
        report(tmp_path, name, {"law": Answers(scores)}).folder.rename(tmp_path / name)
    return tmp_path


def install(work: Path, name: str, program: str) -> None:
    (work / "bin" / name).unlink(missing_ok=True)
    (work / "bin" / name).write_text(program)
    (work / "bin" / name).chmod(0o755)


def step(work: Path, script: str, **variables: str) -> Done:
    """Run `script` as GitHub's runner runs a bash step."""
    files = {name: work / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("")
    environment = {**os.environ, "PATH": f"{work / 'bin'}:{os.environ['PATH']}", "GITHUB_ACTIONS": "true"}
    environment |= {name: str(file) for name, file in files.items()} | variables
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return Done(done.returncode, done.stdout + done.stderr, outputs, files["GITHUB_STEP_SUMMARY"].read_text())


def action_step(name: str) -> dict[str, Any]:
    return next(entry for entry in ACTION["runs"]["steps"] if entry.get("name") == name)


def act(work: Path, **inputs: str) -> Done:
    """Run the action's gate with `inputs`, the others as they are by default."""
    values = {name: entry["default"] for name, entry in ACTION["inputs"].items()} | inputs
    entry = action_step("Gate")
    variables = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: values[match[1]], value)
        for name, value in entry["env"].items()
    }
    return step(work, entry["run"], **variables)


def test_the_action_judges_and_leaves_summary_annotations_and_files(work: Path) -> None:
    done = act(work, candidate="candidate", baseline="baseline")
    assert done.code == 1, done.output
    assert done.outputs == {"verdict": "regressed", "exit-code": "1"}
    assert done.summary.startswith("**regressed**: law lost 6.0 points")
    assert re.search(r"^::error title=law%3A regressed::law lost 6\.0 points", done.output, re.MULTILINE)
    assert json.loads((work / "gate" / "gate.json").read_text())["verdict"] == "regressed"
    assert {file.name for file in (work / "gate").iterdir()} == {"gate.json", "gate.xml", "gate.md"}


def test_where_nothing_was_judged_there_is_no_verdict_not_even_an_old_one(work: Path) -> None:
    install(work, "harness", RECORDER)
    (work / "gate").mkdir()
    for name in ("gate.json", "gate.xml", "gate.md"):
        (work / "gate" / name).write_text('{"verdict": "passed"}')
    done = act(work, candidate="candidate")
    assert not list((work / "gate").iterdir())
    assert (done.code, done.outputs) == (2, {"verdict": "", "exit-code": "2"})


@pytest.mark.parametrize(
    ("inputs", "arguments"),
    [
        ({"candidate": "a report", "output": ""}, ["gate", "--baseline", "main", "a report"]),
        (
            {"model": "out/m,name=x", "tasks": "law,nli", "baseline": "v 1", "policy": "a b.yaml"},
            ["gate", "--baseline", "v 1", "--model", "out/m,name=x", "--tasks", "law,nli", "--policy", "a b.yaml"],
        ),
        (
            {"candidate": "$(touch x)`touch x`;touch x", "arguments": "--margin 20\n  --alpha 0.01\n"},
            ["gate", "--baseline", "main", "$(touch x)`touch x`;touch x", "--margin", "20", "--alpha", "0.01"],
        ),
    ],
)
def test_the_actions_inputs_reach_the_gate_as_they_are(
    work: Path, inputs: dict[str, str], arguments: list[str]
) -> None:
    install(work, "harness", RECORDER)
    act(work, **inputs)
    files = ["--json", "gate/gate.json", "--junit", "gate/gate.xml", "--markdown", "gate/gate.md"]
    assert (work / "arguments").read_text().splitlines() == arguments + files
    assert not (work / "x").exists()
    parsed(arguments + files)


def test_nothing_that_a_user_gives_is_pasted_into_a_shell() -> None:
    for entry in ACTION["runs"]["steps"]:
        assert "${{" not in entry.get("run", "")
        if "uses" in entry:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", entry["uses"])


def test_the_action_installs_what_it_is_part_of(work: Path) -> None:
    install(work, "python", '#!/bin/bash\necho "python $*"\n')
    script = action_step("Install")["run"]
    done = step(work, script, HERE="/the action", TORCH_INDEX="https://example.org/cpu")
    assert done.output.splitlines() == [
        "python -m pip install --quiet torch --index-url https://example.org/cpu",
        "python -m pip install --quiet /the action",
    ]
    assert step(work, script, HERE="/the action", TORCH_INDEX="").output.splitlines() == done.output.splitlines()[1:]


def test_the_page_lists_the_actions_inputs() -> None:
    rows = {name for line in PAGE.splitlines() if line.startswith("| `") for name in re.findall("`([a-z-]+)`", line)}
    assert set(ACTION["inputs"]) <= rows
    for job in GITHUB["jobs"].values():
        for entry in job["steps"]:
            if entry.get("uses", "").endswith("/harness@main"):
                assert set(entry["with"]) <= set(ACTION["inputs"])
            elif "uses" in entry:
                assert re.fullmatch(r"actions/[a-z/-]+@v\d+", entry["uses"])


def test_githubs_example_makes_a_baseline_and_judges_against_it(work: Path) -> None:
    for entry in GITHUB["jobs"]["baseline"]["steps"]:
        if "run" in entry:
            assert step(work, entry["run"]).code == 0
    cached = GITHUB["jobs"]["baseline"]["steps"][-1]["with"]["path"]
    assert (work / cached / "main" / "manifest.json").is_file()
    values = next(entry["with"] for entry in GITHUB["jobs"]["gate"]["steps"] if "model" in entry.get("with", {}))
    (work / values["policy"]).write_text("margin: 1\n")
    done = act(work, **values)
    assert (done.code, done.outputs["verdict"]) == (1, "regressed"), done.output


def test_gitlabs_example_makes_a_baseline_and_judges_against_it(work: Path) -> None:
    commands = [entry["run"] for entry in GITHUB["jobs"]["baseline"]["steps"] if "run" in entry]
    assert GITLAB["baseline"]["script"] == commands  # as the test above has run them
    shutil.copytree(work / "baseline", work / GITLAB["gate"]["cache"]["paths"][0] / "main")
    (judged,) = [step(work, line) for line in GITLAB["gate"]["script"]]
    assert judged.code == 1, judged.output
    for file in (*GITLAB["gate"]["artifacts"]["paths"], GITLAB["gate"]["artifacts"]["reports"]["junit"]):
        assert (work / file).is_file()


def test_every_command_of_the_examples_is_spelled_right() -> None:
    lines = [entry["run"] for job in GITHUB["jobs"].values() for entry in job["steps"] if "run" in entry]
    lines += [line for job in GITLAB.values() for line in job["script"]]
    assert len(lines) == 5
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "harness"
        parsed(words)


def parsed(words: list[str]) -> None:
    """Have the command line take `words`; it raises where it would complain."""
    command, words = typer.main.get_command(app).commands[words[0]], words[1:]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, words)
