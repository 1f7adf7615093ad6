"""Text for a terminal: what it would obey is replaced, and what people write stays."""

from __future__ import annotations

import ast
import io
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import harness
from harness.common import progress, terminal
from harness.common.console import Console, escape

FORMATS_WITH_A_SHAPE = {"\u0600", "\u0601", "\u0602", "\u0603", "\u0604", "\u0605", "\u06dd", "\u070f", "\u0890"} | {
    *("\u0891", "\u08e2", "\U000110bd", "\U000110cd", *map(chr, range(0x13430, 0x13440)))
}
OBEYED = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    and character not in FORMATS_WITH_A_SHAPE | {"\n", "\t"}
]


def test_no_control_format_or_separator_character_is_left():
    assert len(OBEYED) > 2_200
    assert terminal.lines("".join(f"{character}a" for character in OBEYED)) == "\ufffda" * len(OBEYED)


@pytest.mark.parametrize(
    "text",
    [
        "\u200b",
        "\u2060",
        "\u034f",
        "\u115f",
        "\u3164",
        "\uffa0",
        "a\u200db",
        "中\u200d文",
        "中\u200b文",
        "ไทย\u200b",
        "\u200bไทย",
        "ไ\u200b\u200bย",
        "a\u200bไ",
        "ᠬ\u180e",
        "a\u180eb",
        "\ufeffa",
        "Wort\u00adende",
        "👩\u200da",
        "\U0001f3f4\U000e0067",
        "\U000e0041",
    ],
)
def test_characters_without_width_are_replaced(text):
    assert "\ufffd" in terminal.lines(text)


@pytest.mark.parametrize(
    "text",
    [
        "模型，答案：１＋１＝２。\u3000缩进",
        "葛󠄀城",  # an ideographic variation selector
        "👩\u200d🔬 👨🏽\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈 🏴󠁧󠁢󠁳󠁣󠁴󠁿 1️⃣",
        "e\u0301 Việt ก็ नमस्ते क्\u200dष می\u200cخواهم עברית العربية",
        "ภาษา\u200bไทย ພາສາ\u200bລາວ ភាសា\u200bខ្មែរ မြန်မာ\u200bဘာသာ ᦟᦲᧅ\u200bᦷᦎ",
        "ᠬᠠᠷ\u180eᠠ",
        "한국어 \u1112\u1161\u11ab",
        "naïve ± ≤ → ▲ │ ½",
        "tab\tand\nlines",
    ],
)
def test_what_people_write_stays(text):
    assert terminal.lines(text) == text


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_filtering_keeps_the_length_and_changes_nothing_twice(text):
    filtered = terminal.lines(text)
    assert len(filtered) == len(text.replace("\r\n", "\n"))
    assert terminal.lines(filtered) == filtered
    assert "\n" not in terminal.line(text)


def test_windows_line_ends_are_line_ends():
    assert terminal.lines("a\r\nb\rc") == "a\nb\ufffdc"


def test_echo_prints_one_line_per_text(capsys):
    terminal.echo("a\nerror: \x1b[2Jb", "c")
    terminal.echo("d\u202e", error=True)
    assert capsys.readouterr() == ("a error: \ufffd[2Jb\nc\n", "d\ufffd\n")


HOSTILE = "\x1b]0;title\x07[red]模型[/]\u202e\x9b2J\u2028\r"


@pytest.fixture
def out():
    return Console(file=io.StringIO(), width=60, emoji=False, force_terminal=True, color_system=None)


def test_the_console_filters_strings_cells_titles_rules_and_texts(out):
    table = Table(title=escape(HOSTILE))
    table.add_column(escape(HOSTILE))
    table.add_row(escape(HOSTILE))
    for renderable in (escape(HOSTILE), table, Text(HOSTILE)):
        out.print(renderable, highlight=False)
    out.rule(escape(HOSTILE))
    out.print(HOSTILE, markup=False)
    out.out(HOSTILE)
    text = out.file.getvalue()
    assert text.count("[red]模型[/]\ufffd") == 8
    assert not set(text) & set(OBEYED)


def test_a_name_in_a_table_keeps_to_its_cell(out):
    table = Table()
    table.add_row(escape("a\nb\tc\u200b"), "d")
    out.print(table)
    [row] = [line for line in out.file.getvalue().splitlines() if "d" in line]
    assert row == "│ a b c\ufffd │ d │"


def test_progress_is_filtered(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar(HOSTILE + "\n", 2) as bar:
        bar.title(HOSTILE + "[/]")
        bar.advance(1)
    with progress.status(HOSTILE + "[/]"):
        pass
    output = stream.getvalue()
    assert "[red]模型[/]" in output
    assert not {"\x07", "\u202e", "\x9b", "\u2028"} & set(output)
    assert "\x1b]" not in output


def test_nothing_is_printed_but_through_the_two_doors():
    """`print`, `typer.echo`, rich's own console and the streams themselves would pass the filter by."""
    doors = {"common/terminal.py", "common/console.py"}
    calls = []
    for file in Path(harness.__file__).parent.rglob("*.py"):
        name = file.relative_to(Path(harness.__file__).parent).as_posix()
        if name not in doors:
            calls += [f"{name}:{line}" for line in lines_that_print(ast.parse(file.read_text(encoding="utf-8")))]
    assert not calls


PRINTING = """
print("a")
traceback.print_exc()
typer.echo("a")
click.secho("a")
from rich.console import Console
from rich import console
from rich import box, print
import rich.console
sys.stdout.write("a")
sys.stderr.writelines(["a"])
sys.__stderr__.write("a")
sys.stdout.buffer.write(b"a")
os.write(1, b"a")
from sys import stdout
from typer import echo
"""


def test_every_way_to_print_past_the_doors_is_noticed():
    assert sorted(lines_that_print(ast.parse(PRINTING))) == [*range(2, PRINTING.count("\n") + 1)]
    allowed = "from rich import box\nsys.stdout.isatty()\nterminal.write('a', sys.stderr)\nos.write(2, _SHOW_CURSOR)"
    assert not [*lines_that_print(ast.parse(allowed))]


STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def lines_that_print(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of a program that print, or import what prints, without the doors."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")) | ast.Call(func=ast.Attribute(attr="print_exc")):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="typer" | "click"), attr="echo" | "secho")):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="write" | "writelines", value=target)) if STREAMS & {
                part.attr for part in ast.walk(target) if isinstance(part, ast.Attribute)
            }:
                yield node.lineno
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="os"), attr="write"), args=[ast.Constant(value=1 | 2), text]
            ) if not (isinstance(text, ast.Name) and text.id == "_SHOW_CURSOR"):
                yield node.lineno
            case ast.Import(names=names) if any(item.name in ("rich.console", "rich.markup") for item in names):
                yield node.lineno
            case ast.ImportFrom(module="rich.console" | "rich.markup"):
                yield node.lineno
            case ast.ImportFrom(module=module, names=names) if {item.name for item in names} & (
                {"rich": {"console", "markup", "print"}, "typer": {"echo", "secho"}, "click": {"echo", "secho"}}
                | {"sys": STREAMS}
            ).get(module or "", set()):
                yield node.lineno
