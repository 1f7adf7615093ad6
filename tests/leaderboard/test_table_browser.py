"""The leaderboard's plain table as a browser shows it, from `file://`, with and without its script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.leaderboard import site
from support.chromium import browser
from support.invented_reports import SUBJECTS, MakeReport, ceval, checkpoint, one_task

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture
def url(report: MakeReport, tmp_path: Path) -> str:
    family = [
        ceval(report, checkpoint("base"), 0.5, day=1),
        ceval(report, checkpoint("阶段二"), 0.62, day=2),
        one_task(report, "only copa", 0.7, day=3),
        ceval(report, checkpoint("worst"), 0.4, day=4),
    ]
    return site.build(family, tmp_path / "site").page.with_name(site.TABLE).as_uri()


def first_column(page: Any) -> list[str]:
    return list(page.locator(".board tbody th a").all_inner_texts())


def test_the_page_opens_without_errors_and_without_network(chromium: Any, url: str) -> None:
    page = chromium.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    assert errors == []
    assert sorted(r.rpartition("/")[2] for r in requests if not r.startswith("data:")) == [
        *("table.css", "table.html", "table.js")
    ]
    assert all(request.startswith(("file:", "data:")) for request in requests)


def test_a_column_head_sorts_the_best_first_and_missing_scores_last(chromium: Any, url: str) -> None:
    page = chromium.new_page()
    page.goto(url)
    head = page.locator(".board thead th", has_text="ceval")
    assert first_column(page) == ["base", "阶段二", "only copa", "worst"]
    head.get_by_role("button").click()
    assert first_column(page) == ["阶段二", "base", "worst", "only copa"]
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert first_column(page) == ["worst", "base", "阶段二", "only copa"]
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator(".board [aria-sort]").count() == 1
    page.get_by_role("button", name="First run").click()
    assert first_column(page) == ["base", "阶段二", "only copa", "worst"]


def test_detail_tables_sort_within_their_blocks(chromium: Any, url: str) -> None:
    page = chromium.new_page()
    page.goto(url)
    page.locator("#task-ceval summary").click()
    page.locator("#task-ceval").get_by_role("button", name="Score").click()
    page.locator("#task-ceval").get_by_role("button", name="Score").click()
    heads = page.locator("#task-ceval tbody th").all_inner_texts()
    assert [text.split()[0] for text in heads] == ["Named", "ceval/STEM", "Tasks", *reversed(SUBJECTS)]


def test_a_name_links_to_its_card(chromium: Any, url: str) -> None:
    page = chromium.new_page()
    page.goto(url)
    assert not page.locator(".card").nth(1).is_visible()
    page.get_by_role("link", name="阶段二").first.click()
    page.locator(".card").nth(1).wait_for(state="visible")


def test_without_its_script_the_page_is_complete(chromium: Any, url: str) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(url)
    assert first_column(page) == ["base", "阶段二", "only copa", "worst"]
    assert page.get_by_role("button").count() == 0
    assert page.locator(".board").is_visible()
    page.locator("#task-ceval summary").click()
    assert page.get_by_text("ceval_physics").is_visible()


def test_on_a_phone_only_the_table_scrolls(chromium: Any, url: str) -> None:
    page = chromium.new_page(viewport={"width": 360, "height": 740})
    page.goto(url)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.evaluate("document.querySelector('.board').parentElement.scrollLeft = 200")
    assert page.locator(".board tbody th").first.bounding_box()["x"] >= 0
