"""What the documents show is what the program does.

Blocks of a page are taken in order, in a folder of its own where `harness demo` has been: `yaml` blocks that open with
`# path` are written there, `python` blocks are executed, and of `console` blocks every line after `$ ` is run. What is
shown under a command is compared loosely, since scores and times differ: table headings, row names and error sentences
must be there, and a help text must be equal. `sh` blocks, which need real models and data, are only parsed.

`python tests/docs/test_docs.py` writes the help texts into the pages anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

import harness.cli
from harness.cli.app import app
from harness.tasks import FEATURED

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh.md")
PAGES = (*READMES, *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")))
VERBS = typer.main.get_command(app).commands
PLAIN = {"COLUMNS": "80", "TERM": "dumb"}
STEPS = 40
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HELP = re.compile(r"^\$ (harness [a-z ]*--help)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    text: str


class Shown(NamedTuple):
    """A command in a `console` block and what is printed under it."""

    command: str
    output: str


class Done(NamedTuple):
    """What a command did."""

    code: int
    output: str
    errors: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Done]]:
    """A folder that `harness demo` made in fewer steps, and what it said."""
    world = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        patch.setenv("HARNESS_CACHE", str(world / "cache"))
        yield world / "demo", call(f"harness demo --output demo --steps {STEPS}")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_shows(page, demo, tmp_path, monkeypatch):
    made, said = demo
    assert said.code == 0, said.errors
    found = blocks(page)
    if any(block.language in ("console", "python") for block in found):
        shutil.copytree(made, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in found:
        where = f"{page}:{block.line}"
        if block.language == "yaml" and block.text.startswith("# "):
            file = Path(block.text.partition("\n")[0].removeprefix("# "))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, where, "exec"), names)
        elif block.language == "console":
            for shown in commands(block):
                compare(where, shown, said if is_demo(shown.command) else call(shown.command))


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_real_models_are_spelled_right(page):
    for block in blocks(page):
        if block.language == "sh":
            for command in joined(block.text):
                words = [word for word in shlex.split(command, comments=True) if not re.match("[A-Z_]+=", word)]
                if words[:1] == ["harness"]:
                    VERBS[words[1]].make_context(words[1], words[2:])


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    for link in LINK.findall(prose):
        if not link.startswith(("http:", "https:", "mailto:")):
            assert (ROOT / page).parent.joinpath(link.partition("#")[0]).exists(), f"{page} links to {link}"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for code in CODE.findall(prose):
        if re.fullmatch(r"(harness|tasks|tests|leaderboard|docs)/[\w./]+", code):
            assert (ROOT / code).exists(), f"{page} names {code}"
        if verb := re.match(r"harness ([a-z]+)", code):
            assert verb[1] in VERBS, f"{page} names the verb {verb[1]}"
            known = {name for option in VERBS[verb[1]].params for name in option.opts}
            assert set(re.findall(r"(?<!\S)--?[a-z-]+", code)) <= known | {"--help"}, f"{page} writes {code}"
    for target in re.findall(r"^make ([a-z]+)|[`$] ?make ([a-z]+)", text, re.MULTILINE):
        assert "".join(target) in targets, f"{page} names make {''.join(target)}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page_with_its_help(verb):
    text = (ROOT / "docs" / f"{verb}.md").read_text(encoding="utf-8")
    assert f"$ harness {verb} --help\n" in text


def test_both_readmes_give_the_same_commands():
    english, chinese = (
        [shlex.split(line, comments=True) for block in blocks(page) for line in typed(block)] for page in READMES
    )
    assert english == chinese


@pytest.mark.parametrize("page", READMES)
def test_readmes_list_the_tasks_that_are_featured(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert {name for name in ("ceval", *FEATURED) if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("page", ["docs/run.md", *READMES])
def test_every_key_of_a_checkpoint_reference_is_explained(page):
    from harness.checkpoints.reference import KEYS

    text = (ROOT / page).read_text(encoding="utf-8")
    assert {key for key in KEYS if f"`{key}" not in text} == set()


def test_every_field_of_a_report_is_explained():
    from harness.runs import report

    models = (
        report.Manifest,
        report.CheckpointInfo,
        report.TaskInfo,
        report.Protocol,
        report.Engine,
        report.Score,
    )
    fields = {name for model in models for name in model.model_fields} | set(report.SAMPLE_COLUMNS.names)
    text = (ROOT / "docs/reports.md").read_text(encoding="utf-8")
    rows = {name for line in text.splitlines() if line.startswith("| `") for name in CODE.findall(line.split("|")[1])}
    assert rows == fields


# --- reading pages, running commands ----------------------------------------------------------------------------------


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(text[: m.start()].count("\n") + 1, m[1], m[2]) for m in FENCE.finditer(text)]


def joined(text: str) -> list[str]:
    """Return the lines of `text`, those that end on a backslash joined with the next."""
    return text.replace("\\\n", " ").splitlines()


def typed(block: Block) -> list[str]:
    """Return the commands a reader would type."""
    if block.language == "console":
        return [shown.command for shown in commands(block)]
    return [line for line in joined(block.text) if line.strip()] if block.language == "sh" else []


def commands(block: Block) -> list[Shown]:
    parts = re.split(r"^\$ (.*)\n", block.text.replace("\\\n", " "), flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with a command, not with {parts[0]!r}"
    return [Shown(*pair) for pair in zip(parts[1::2], parts[2::2], strict=True)]


def is_demo(command: str) -> bool:
    return command in ("make demo", "harness demo", "harness demo --output demo")


def call(command: str) -> Done:
    program, *arguments = shlex.split(command, comments=True)
    assert program == "harness", f"cannot run {command!r} here"
    output, errors = io.StringIO(), io.StringIO()
    before = {name: os.environ.get(name) for name in PLAIN}
    os.environ.update(PLAIN)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = harness.cli.main(arguments)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return Done(code, output.getvalue(), errors.getvalue())


def compare(where: str, shown: Shown, done: Done) -> None:
    if shown.command.endswith("--help"):
        assert tidy(shown.output) == tidy(done.output), f"{where} is old; run python tests/docs/test_docs.py"
        return
    wrong = [line for line in shown.output.splitlines() if line.startswith("error: ")]
    assert done.code == (2 if wrong else 0), f"{where}: {shown.command}\n{done.output}\n{done.errors}"
    for line in wrong:
        assert line in done.errors, f"{where}: {shown.command}\n{done.errors}"
    gone = labels(shown.output) - labels(done.output)
    assert not gone, f"{where}: {shown.command} no longer shows {gone} but\n{done.output}"


def labels(output: str) -> set[str]:
    """Return what stays the same whatever the scores are: the headings of tables and the names of their rows."""
    found = set()
    for line in output.splitlines():
        cells = [cell.strip() for cell in re.split("[┃│]", line)[1:-1]]
        found.update(cells if "┃" in line else cells[:1])
    return found


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def write_help() -> None:
    """Replace the help texts in all pages by what the program prints."""
    for page in PAGES:
        file = ROOT / page
        text = file.read_text(encoding="utf-8")
        new = HELP.sub(lambda m: f"$ {m[1]}\n{tidy(call(m[1]).output)}\n```", text)
        if new != text:
            file.write_text(new, encoding="utf-8")
            print(f"wrote {page}")


if __name__ == "__main__":
    write_help()
