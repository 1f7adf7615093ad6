"""The leaderboard's page, read as HTML and addressed by what people read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import html

from harness.leaderboard import site


class Page:
    """The parsed page, addressed by what people read."""

    def __init__(self, index: Path) -> None:
        self.text = index.read_text(encoding="utf-8")
        self.root = html.fromstring(self.text)

    @property
    def names(self) -> list[str]:
        return [words(head) for head in self.root.xpath("//table[contains(@class, 'board')]/tbody/tr/th/a")]

    @property
    def columns(self) -> list[str]:
        return [words(b) for b in self.root.xpath("//table[contains(@class, 'board')]/thead/tr[1]/th/span/b")]

    def head(self, task: str) -> str:
        return words(self.root.xpath("//table[contains(@class, 'board')]/thead/tr[1]/th")[self.columns.index(task)])

    def cell(self, row: int, task: str) -> Any:
        line = self.root.xpath("//table[contains(@class, 'board')]/tbody/tr")[row]
        return line[self.columns.index(task)]

    def values(self, task: str) -> list[str]:
        return [words(self.cell(row, task).xpath("span[1]")[0]) for row in range(len(self.names))]

    def section(self, task: str) -> list[list[str]]:
        return [
            [words(cell) for cell in row]
            for row in self.root.xpath(f"//details[@id='task-{task}']//tbody/tr[not(@class='block')]")
        ]

    def card(self, row: int) -> str:
        return words(self.root.xpath("//div[contains(@class, 'card')]")[row])


def words(element: Any) -> str:
    return " ".join(element.text_content().split())


def is_best(cell: Any) -> bool:
    return "best" in cell.get("class").split()


def write(tmp_path: Path, *reports: Any) -> Page:
    return Page(site.build(reports, tmp_path / "site"))
