"""The leaderboard's plain table, parsed as HTML and addressed by its visible texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import html

from harness.leaderboard import site


class Page:
    """The parsed page."""

    def __init__(self, index: Path) -> None:
        self.text = index.read_text(encoding="utf-8")
        self.root = html.fromstring(self.text)

    @property
    def names(self) -> list[str]:
        """The names of the checkpoints, from top to bottom."""
        return [words(head) for head in self.root.xpath("//table[contains(@class, 'board')]/tbody/tr/th/a")]

    @property
    def columns(self) -> list[str]:
        """The titles of the main table's columns."""
        return [words(b) for b in self.root.xpath("//table[contains(@class, 'board')]/thead/tr[1]/th/span/b")]

    def head(self, task: str) -> str:
        """Return the text in the head of the column of `task`."""
        return words(self.root.xpath("//table[contains(@class, 'board')]/thead/tr[1]/th")[self.columns.index(task)])

    def cell(self, row: int, task: str) -> Any:
        """Return the element of a cell of the main table."""
        line = self.root.xpath("//table[contains(@class, 'board')]/tbody/tr")[row]
        return line[self.columns.index(task)]

    def values(self, task: str) -> list[str]:
        """Return the values in the column of `task`, without intervals and marks."""
        return [words(self.cell(row, task).xpath("span[1]")[0]) for row in range(len(self.names))]

    def section(self, task: str) -> list[list[str]]:
        """Return the cells of the detail table of `task`, row by row."""
        return [
            [words(cell) for cell in row]
            for row in self.root.xpath(f"//details[@id='task-{task}']//tbody/tr[not(@class='block')]")
        ]

    def card(self, row: int) -> str:
        """Return the text of a checkpoint's card."""
        return words(self.root.xpath("//div[contains(@class, 'card')]")[row])


def words(element: Any) -> str:
    """Return the text of `element` with single spaces."""
    return " ".join(element.text_content().split())


def is_best(cell: Any) -> bool:
    """Return whether `cell` is marked as best."""
    return "best" in cell.get("class").split()


def write(tmp_path: Path, *reports: Any) -> Page:
    """Write the leaderboard of `reports`, and return its plain table."""
    return Page(site.build(reports, tmp_path / "site").page.with_name(site.TABLE))
