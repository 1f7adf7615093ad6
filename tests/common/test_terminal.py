"""Text for a terminal: what it would obey is replaced, and what people write stays."""

from __future__ import annotations

import ast
import io
import sys
import unicodedata
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
    shown = stream.getvalue()
    assert "[red]模型[/]" in shown
    assert not {"\x07", "\u202e", "\x9b", "\u2028"} & set(shown)
    assert "\x1b]" not in shown


def test_nothing_is_printed_but_through_the_two_doors():
    """`print`, `typer.echo` and rich's own console would pass the filter by."""
    doors = {"common/terminal.py", "common/console.py"}
    calls = []
    for file in Path(harness.__file__).parent.rglob("*.py"):
        name = file.relative_to(Path(harness.__file__).parent).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if name not in doors else ():
            match node:
                case ast.Call(func=ast.Name(id="print")) | ast.Call(func=ast.Attribute(attr="print_exc")):
                    calls.append(f"{name}:{node.lineno}")
                case ast.Call(func=ast.Attribute(value=ast.Name(id="typer" | "click"), attr="echo" | "secho")):
                    calls.append(f"{name}:{node.lineno}")
                case ast.ImportFrom(module="rich.console" | "rich.markup"):
                    calls.append(f"{name}:{node.lineno}")
    assert not calls
