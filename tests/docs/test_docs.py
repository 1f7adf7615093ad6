"""What the documents show is what the program does.

Blocks of a page are taken in order, in a folder of its own where `harness demo` has been: `yaml` blocks that open with
`# path` are written there, `python` blocks are executed, and of `console` blocks every line after `$ ` is run. What is
shown under a command is compared loosely, since scores and times differ: table headings, row names and error sentences
must be there, and a help text must be equal. `sh` blocks, which need real models and data, are only parsed. A `console`
block that begins with fetching a real model is run by `make oracle`.

    python tests/docs/test_docs.py            writes all help texts into the pages anew
    python tests/docs/test_docs.py FOLDER     and everything else shown, as it comes out in the empty FOLDER
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import typer

import harness.cli
from harness.cli.app import app
from harness.common import console
from harness.tasks.catalogue import FEATURED

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh.md")
PAGES = (*READMES, *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")))
VERBS = typer.main.get_command(app).commands
DEMO = ("make demo", "harness demo")
FETCH = "python tests/oracle/smollm2.py ."
"""The command that puts a real model into the working directory."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block, and where in its page its text begins."""

    at: int
    language: str
    text: str


class Shown(NamedTuple):
    """A command in a `console` block, what is printed under it, and where in the page that begins."""

    at: int
    command: str
    output: str


class Done(NamedTuple):
    """What a command did."""

    code: int
    output: str
    errors: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, demo_cache: Path) -> tuple[Path, Done]:
    """A folder that `harness demo --quick` made, and what the command printed."""
    world = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        patch.setenv("HARNESS_CACHE", str(demo_cache))
        demonstration = call("harness demo --keep demo --quick")
    assert demonstration.code == 0, demonstration.errors
    return world / "demo", demonstration


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_shows(page, demo, tmp_path, monkeypatch):
    folder, demonstration = demo
    monkeypatch.chdir(tmp_path)
    if any(block.language in ("console", "python") for block in blocks(page)):
        shutil.copytree(folder, "demo")
    for shown, done in act(page, demonstration):
        compare(page, shown, done)


@pytest.mark.oracle
@pytest.mark.data
@pytest.mark.parametrize("page", READMES)
def test_the_real_model_does_what_a_page_shows(page, smollm2_file, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(data))
    (tmp_path / smollm2_file.name).symlink_to(smollm2_file)
    shown = [shown for block in blocks(page) if is_real(block) for shown in commands(block)]
    assert shown[0] == (shown[0].at, FETCH, f"{smollm2_file.name}\n")
    for command in shown[1:]:
        compare(page, command, call(command.command))


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_real_models_are_spelled_right(page):
    for block in blocks(page):
        if block.language == "sh" or is_real(block):
            for command in typed(block):
                words = [word for word in shlex.split(command, comments=True) if not re.match("[A-Z_]+=", word)]
                if words[:1] == ["harness"]:
                    verb, rest = named(words[1:])
                    verb.make_context(verb.name, rest)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_exists(page):
    text = read(page)
    prose = FENCE.sub("", text)
    for link in LINK.findall(prose):
        if not link.startswith(("http:", "https:", "mailto:")):
            assert (ROOT / page).parent.joinpath(link.partition("#")[0]).exists(), f"{page} links to {link}"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for code in CODE.findall(prose):
        if re.fullmatch(r"(harness|tasks|tests|leaderboard|docs)/[\w./]+", code):
            assert (ROOT / code).exists(), f"{page} names {code}"
        elif code.endswith(".py") and "/" not in code and code != "utils.py":
            assert list((ROOT / "harness").rglob(code)), f"{page} names {code}"
        if verb := re.match(r"harness ([a-z]+)", code):
            assert verb[1] in VERBS, f"{page} names the verb {verb[1]}"
            known = {
                name for command in with_parts(VERBS[verb[1]]) for option in command.params for name in option.opts
            }
            assert set(re.findall(r"(?<!\S)--?[a-z-]+", code)) <= known | {"--help"}, f"{page} writes {code}"
    for target in re.findall(r"^make ([a-z]+)|[`$] ?make ([a-z]+)", text, re.MULTILINE):
        assert "".join(target) in targets, f"{page} names make {''.join(target)}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page_with_its_help(verb):
    text = read(f"docs/{verb}.md")
    assert f"$ harness {verb} --help\n" in text


def test_both_readmes_give_the_same_commands():
    english, chinese = (
        [shlex.split(line, comments=True) for block in blocks(page) for line in typed(block)] for page in READMES
    )
    assert english == chinese


@pytest.mark.parametrize("page", READMES)
def test_readmes_list_the_tasks_that_are_featured(page):
    text = read(page)
    assert {name for name in ("ceval", *FEATURED) if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("page", ["docs/run.md", *READMES])
def test_every_key_of_a_checkpoint_reference_is_explained(page):
    from harness.checkpoints.reference import KEYS

    text = read(page)
    assert {key for key in KEYS if f"`{key}" not in text} == set()


def test_every_field_of_a_report_is_explained():
    from harness.reports import checkpoint_info, report

    models = (
        report.Manifest,
        checkpoint_info.CheckpointInfo,
        checkpoint_info.TrainingInfo,
        checkpoint_info.TrainedCorpus,
        report.TaskInfo,
        report.Protocol,
        report.Engine,
        report.Score,
    )
    fields = {name for model in models for name in model.model_fields} | set(report.SAMPLE_COLUMNS.names)
    text = read("docs/reports.md")
    rows = {name for line in text.splitlines() if line.startswith("| `") for name in CODE.findall(line.split("|")[1])}
    assert rows == fields


def test_the_tests_that_hold_a_trainer_to_its_promises_exist():
    table = read("docs/train.md").partition("## What can go wrong in a trainer")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12
    for row in rows:
        names = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.split("|")[-2])
        assert names, row
        for file, name in names:
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name} is gone"


def test_every_setting_of_a_recipe_is_explained():
    from harness.training import dialogues, recipe, settings

    text = read("docs/train.md")
    names = {
        *recipe.OWN,
        *settings.ADAPTERS,
        *recipe.Recipe.model_fields,
        *recipe.Corpus.model_fields,
        "defaults",
        "merge",
    }
    names |= {*get_args(dialogues.Format), *get_args(dialogues.Learned)}
    assert {name for name in names - {"sha256", "stated", "folder"} if f"`{name}`" not in text} == set()


# --- reading pages, running commands ----------------------------------------------------------------------------------


def named(words: list[str]):
    """Return the verb that `words` begin with, or the part of one, as `baseline set`, and the words behind it."""
    verb, rest = VERBS[words[0]], words[1:]
    while hasattr(verb, "commands"):
        verb, rest = verb.commands[rest[0]], rest[1:]
    return verb, rest


def with_parts(verb):
    """Return a verb and its parts."""
    return [verb, *getattr(verb, "commands", {}).values()]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    return [Block(match.start(2), match[1], match[2]) for match in FENCE.finditer(read(page))]


def is_real(block: Block) -> bool:
    """Return whether `block` runs a real model, which has to be fetched first."""
    return block.language == "console" and block.text.startswith(f"$ {FETCH}\n")


def commands(block: Block) -> list[Shown]:
    """Return the commands of a `console` block. The demo names commands in its output; those are not to be typed."""
    lines = list(re.finditer(r"^\$ (.*)\n", block.text, re.MULTILINE))
    assert block.text.startswith("$ "), f"a console block begins with a command, not with {block.text!r}"
    if lines[0][1] in DEMO:
        del lines[1:]
    ends = [*(line.start() for line in lines[1:]), len(block.text)]
    return [
        Shown(block.at + line.end(), line[1], block.text[line.end() : end])
        for line, end in zip(lines, ends, strict=True)
    ]


def typed(block: Block) -> list[str]:
    """Return the commands that a reader of `block` would type."""
    if block.language == "console":
        return [shown.command for shown in commands(block)]
    lines = block.text.replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip()] if block.language == "sh" else []


def act(page: str, demonstration: Done) -> Iterator[tuple[Shown, Done]]:
    """Do what the blocks of `page` do, in the working directory; `demonstration` is what `harness demo` printed."""
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.language == "yaml" and block.text.startswith("# "):
            file = Path(block.text.partition("\n")[0].removeprefix("# "))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, page, "exec"), names)
        elif block.language == "console" and not is_real(block):
            for shown in commands(block):
                yield shown, demonstration if shown.command in DEMO else call(shown.command)


def call(command: str) -> Done:
    """Run `command` as a shell would in a terminal of 100 columns; help texts are made for 80."""
    program, *words = shlex.split(command, comments=True)
    assert program == "harness", f"cannot run {command!r} here"
    arguments = [name for word in words for name in expanded(word)]
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "PIPE_WIDTH", 100)
        patch.setenv("COLUMNS", "80")
        patch.setenv("TERM", "dumb")
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = harness.cli.main(arguments)
    return Done(code, output.getvalue(), errors.getvalue())


def expanded(word: str) -> list[str]:
    """Return the paths that match the pattern `word`, or `word` itself if there are none."""
    return (sorted(map(str, Path().glob(word))) if "*" in word else []) or [word]


def compare(page: str, shown: Shown, done: Done) -> None:
    where = f"{page}: {shown.command}"
    assert shown.output.strip(), f"{where} shows nothing; run python tests/docs/test_docs.py FOLDER"
    if is_help(shown):
        assert tidy(shown.output) == tidy(done.output), f"{where} is old; run python tests/docs/test_docs.py"
        return
    wrong = [line for line in shown.output.splitlines() if line.startswith("error: ")]
    assert done.code == (2 if wrong else exit_code(shown, done)), f"{where}\n{done.output}\n{done.errors}"
    for line in wrong:
        assert line in done.errors, f"{where}\n{done.errors}"
    gone = labels(shown.output) - labels(done.output)
    assert not gone, f"{where} no longer shows {gone} but\n{done.output}"


def exit_code(shown: Shown, done: Done) -> int:
    """Return the code that goes with what is printed: 0, but where a gate's last line begins with another verdict."""
    from harness.verdicts.gate import EXIT_CODES

    verdict = re.match(r"[a-z]+(?=:)", done.output.rstrip().rpartition("\n")[2]) if " gate " in shown.command else None
    return EXIT_CODES[verdict[0]] if verdict else 0


def is_help(shown: Shown) -> bool:
    return shown.command.endswith("--help")


def labels(output: str) -> set[str]:
    """Return what stays the same whatever the scores are: the headings of tables and the names of their rows."""
    names = set(re.findall(r"^ ?([a-z][\w-]*)  +\S", output, re.MULTILINE))  # of tables without lines
    for line in output.splitlines():
        cells = [cell.strip() for cell in re.split("[┃│]", line)[1:-1]]
        names.update(cells if "┃" in line else cells[:1])
    return names


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def write(page: str, outputs: list[tuple[Shown, str]]) -> None:
    """Put new outputs under the commands of `page`."""
    text = read(page)
    for shown, output in reversed(outputs):
        text = text[: shown.at] + tidy(output) + "\n" + text[shown.at + len(shown.output) :]
    (ROOT / page).write_text(text, encoding="utf-8")


def write_help() -> None:
    for page in PAGES:
        page_commands = [each for block in blocks(page) if block.language == "console" for each in commands(block)]
        write(page, [(each, call(each.command).output) for each in page_commands if is_help(each)])


def write_all(folder: Path) -> None:
    fresh, used = folder / "fresh", folder / "try"
    fresh.mkdir()
    os.chdir(fresh)
    demonstration = call("harness demo")
    for page in PAGES:
        os.chdir(folder)
        shutil.rmtree(used, ignore_errors=True)
        shutil.copytree(fresh, used)
        os.chdir(used)
        write(page, [(shown, done.output + done.errors) for shown, done in act(page, demonstration)])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_all(Path(sys.argv[1]).resolve())
    else:
        write_help()
