"""The leaderboard's page in a browser, from `file://`: every view, and nothing that its policy forbids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.leaderboard import lineage, site
from harness.reports.report import Report
from support import chromium
from support.answered import Answers, report

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)>\"'`|=1+1"
N = 30


def answers(right: int, **changes: Any) -> Answers:
    texts = [f"Answer {i} {EVIL if i == 0 else 'plain'}" for i in range(N)]
    plain: dict[str, Any] = {
        "scores": [float(i < right) for i in range(N)],
        "responses": texts,
        "predictions": texts,
        "endings": ["stop"] * N,
        "prompt": "Shared beginning. ",
    }
    return Answers(**plain | changes)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    root = tmp_path_factory.mktemp("reports")

    def choices(best: int) -> Answers:
        likely = [[-1.0, -2.0] if best else [-2.0, -1.0]] * N
        return Answers([float(best)] * N, choices=[["yes", "no"]] * N, logprobs=likely, targets=["yes"] * N)

    groups = {"exam": ("task", ["law", "logic"])}
    return [
        report(root, "base", {"law": answers(10), "logic": answers(12), "nli": choices(1)}, averages=groups, day=1),
        report(root, "tuned", {"law": answers(28), "logic": answers(27), "nli": choices(0)}, averages=groups, day=2),
        report(root, EVIL[:20], {"law": answers(9, prompt="Other words. ")}, day=3),
    ]


@pytest.fixture(scope="module")
def built(reports: list[Report], tmp_path_factory: pytest.TempPathFactory) -> Path:
    stated = {"tuned": lineage.Stated(parent="base", corpora=("statutes",))}
    return site.build(reports, tmp_path_factory.mktemp("out") / "site", site.Options(stated=stated)).page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browser() as opened:
        yield opened


class Visit:
    """A page, and all that went wrong on it."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message) or dialog.dismiss())
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, page: Path, view: str) -> Any:
        self.page.goto("about:blank")
        self.page.goto(f"{page.as_uri()}#{view}")
        self.page.wait_for_selector("main[data-view]")
        self.page.wait_for_timeout(100)
        return self.page


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    visit = Visit(browser, viewport={"width": 1400, "height": 900})
    yield visit
    assert visit.wrong == []
    assert all(url.startswith(("file:", "about:", "data:")) for url in visit.requests)
    visit.page.close()


def ids(page: Any) -> list[str]:
    return list(page.evaluate("harness.core.board.checkpoints.map((checkpoint) => checkpoint.id)"))


def texts(page: Any, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def test_the_policy_is_the_strictest_that_the_page_needs(built: Path) -> None:
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'"
    content = built.read_text(encoding="utf-8")
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in content
    assert " style=" not in content


def test_the_overview_begins_with_what_changed_and_marks_the_best(built: Path, visit: Visit) -> None:
    page = visit.go(built, "")
    (sentence,) = texts(page, ".sentences li")
    gained = "gained 60.0 points of law, 55.0 points of exam"
    assert sentence == f"tuned against base: {gained}; lost 100.0 points of nli."
    assert texts(page, ".board thead b") == ["Checkpoint", "exam", "law", "nli", *texts(page, ".board thead .cost b")]
    assert texts(page, "td.best .value") == ["100.0", "91.7", "93.3"]
    assert texts(page, ".board .badge") == ["different prompts"]


def test_an_average_unfolds_to_its_tasks_and_the_address_says_so(built: Path, visit: Visit) -> None:
    page = visit.go(built, "")
    page.get_by_role("button", name="+").click()
    page.wait_for_selector("td.task")
    assert "open=exam" in page.url
    assert "logic" in texts(page, ".board thead b")
    page.go_back()
    page.wait_for_selector("td.task", state="detached")


def test_sorting_by_a_head_puts_the_best_first_and_missing_scores_last(built: Path, visit: Visit) -> None:
    page = visit.go(built, "")
    page.locator(".board thead th", has_text="exam").locator(".sort").click()
    page.wait_for_selector('[aria-sort="descending"]')
    assert texts(page, ".board tbody .name")[:2] == ["tuned", "base"]
    page.locator(".board thead th", has_text="exam").locator(".sort").click()
    page.wait_for_selector('[aria-sort="ascending"]')
    assert texts(page, ".board tbody .name")[:2] == ["base", "tuned"]


def test_any_baseline_may_be_chosen_for_the_marks(built: Path, visit: Visit) -> None:
    page = visit.go(built, "")
    first, tuned, _ = ids(page)
    page = visit.go(built, f"base={tuned}")
    page.wait_for_selector("[data-marked]")
    assert page.locator(".board tbody tr", has_text="base").locator(".sign.worse").count() >= 1
    assert page.locator('[data-cell="1,0"] .sign').count() == 0
    assert first != tuned


def test_two_checkpoints_are_compared_and_lead_to_their_flips(built: Path, visit: Visit) -> None:
    base, tuned, _ = ids(visit.go(built, ""))
    page = visit.go(built, f"compare={base},{tuned}")
    page.wait_for_selector("[data-done]", state="attached")
    assert texts(page, ".compare tbody b") == ["exam", "law", "nli"]
    assert page.locator(".sign.better").count() == 2
    assert page.locator(".sign.worse").count() == 1
    page.get_by_text("lost 30").click()
    page.wait_for_selector(".summary")
    assert "30 of 30 documents" in page.inner_text("main")
    assert texts(page, ".choices .chosen .text") == ["yes", "no"]


def test_what_cannot_be_compared_says_why_in_the_words_of_the_command(built: Path, visit: Visit) -> None:
    base, _, other = ids(visit.go(built, ""))
    page = visit.go(built, f"compare={base},{other}&all=1")
    page.wait_for_selector("[data-done]", state="attached")
    assert any("different prompts" in text for text in texts(page, ".remarks li"))


def test_samples_are_searched_filtered_and_shown_as_text(built: Path, visit: Visit) -> None:
    base, tuned, _ = ids(visit.go(built, ""))
    page = visit.go(built, f"samples=law%09none&a={base}&b={tuned}&doc=0")
    page.wait_for_selector(".answer")
    assert EVIL in page.inner_text(".document")
    page = visit.go(built, f"samples=law%09none&a={base}&show=wrong")
    assert "20 of 30 documents" in page.inner_text("main")
    page = visit.go(built, f"samples=law%09none&a={base}&find=answer+17")
    assert texts(page, ".summary .id") == ["17"]


def test_stages_trade_offs_method_and_a_checkpoint_have_their_parts(built: Path, visit: Visit) -> None:
    _, tuned, _ = ids(visit.go(built, ""))
    page = visit.go(built, "stages=1")
    assert page.locator(".tree .node").count() == 2
    assert texts(page, ".tick") == ["", "✓", ""]
    page = visit.go(built, "tradeoffs=1")
    assert page.locator(".scatter circle").count() >= 2
    page = visit.go(built, "method=1")
    assert "different prompts" in page.inner_text("main")
    page = visit.go(built, f"checkpoint={tuned}")
    assert "models/tuned" in page.inner_text("main")


def test_everything_is_there_in_chinese_and_in_the_dark(built: Path, visit: Visit) -> None:
    page = visit.go(built, "lang=zh&theme=dark")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert texts(page, "nav a") == ["总览", "对比", "样本", "训练阶段", "取舍", "方法"]
    assert texts(page, ".sentences li")[0].startswith("tuned 与 base 相比")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 23)"
    words = page.evaluate("Object.entries(harness.words).filter(([, pair]) => pair.length !== 2).map(([key]) => key)")
    assert words == []


def test_on_a_phone_the_table_becomes_cards(built: Path, browser: Any) -> None:
    visit = Visit(browser, viewport={"width": 360, "height": 740})
    page = visit.go(built, "")
    assert page.locator(".card").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert visit.wrong == []


def test_copies_are_safe_in_a_spreadsheet_and_in_latex(built: Path, visit: Visit) -> None:
    page = visit.go(built, "")
    script = "(name) => harness.copies[name](harness.columns.layout(new Set()), [0, 1, 2])"
    lines = page.evaluate(script, "csv").splitlines()
    assert lines[0] == '"Checkpoint","exam (acc)","law (acc)","nli (acc)"'
    assert "\\_" not in page.evaluate(script, "latex").splitlines()[0]
    assert page.evaluate(script, "markdown").count("\n") == 5


def test_numbers_are_written_as_by_the_command(built: Path, visit: Visit) -> None:
    page = visit.go(built, "")
    values = [0.25, 0.35, 45.25, 45.35, -0.04, 1234.5, 12345.678, 0.5, 2.5, -2.5, 99.95]
    for digits in (0, 1, 2):
        written = page.evaluate(
            "([values, digits]) => values.map((v) => harness.core.fixed(v, digits))", [values, digits]
        )
        expected = [f"{value:,.{digits}f}".replace("-", "−") for value in values]
        assert written == [text if text.strip("−0.") else text.removeprefix("−") for text in expected]


def test_a_broken_site_says_what_is_missing(built: Path, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(built.read_text(encoding="utf-8"), encoding="utf-8")
    for file in built.parent.glob("*.*s"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector("[role=alert]")
    assert "belongs beside this page" in page.inner_text("main")


def test_without_samples_nothing_of_a_prompt_or_an_answer_is_published(reports: list[Report], tmp_path: Path) -> None:
    built = site.build(reports, tmp_path / "none", site.Options(samples="none"))
    flips = site.build(reports, tmp_path / "flips", site.Options(samples="flips"))
    everything = site.build(reports, tmp_path / "all")
    assert built.size < flips.size < everything.size
    assert not (tmp_path / "none" / "data" / "built.json").exists()
    assert json.loads((tmp_path / "flips" / "data" / "built.json").read_text())


def test_every_word_that_a_script_names_is_in_the_dictionary(built: Path) -> None:
    named: set[str] = set()
    for file in built.parent.glob("*.js"):
        named |= set(re.findall(r'\bword\(\s*"([^"]+)"', file.read_text(encoding="utf-8")))
    listed = set(
        re.findall(r'^  "?([\w ]+?)"?: \[', (built.parent / "words.js").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert len(named) > 80
    assert named <= listed
