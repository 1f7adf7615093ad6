"""The leaderboard's plain table, parsed as HTML: cells, rows, marks; and the site's files."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.leaderboard import chunks, site
from harness.reports import numbers_in_words
from support.invented_reports import SUBJECTS, MakeReport, average, ceval, checkpoint, one_task, score, task_info
from support.pages import is_best, words, write

# The content of cells


def test_a_fraction_is_a_percentage_with_its_interval(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, one_task(report, "a", 0.4531))
    cell = page.cell(0, "copa")
    assert words(cell) == "45.3 43.3–47.3"
    assert cell.get("data-value") == "0.4531"
    assert cell.get("title").startswith("n = 100, standard error 1")
    assert page.head("copa") == "copa acc, % ↑ (higher is better) 0-shot, n = 100"


def test_the_interval_is_drawn_on_a_scale_of_0_to_100(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, one_task(report, "a", 0.45), one_task(report, "b", 0.99))
    ranges = [page.cell(row, "copa").xpath(".//*[@class='range']")[0] for row in (0, 1)]
    assert [(line.get("x1"), line.get("x2")) for line in ranges] == [("43.00%", "47.00%"), ("97.00%", "100.00%")]


def test_other_units_keep_their_digits_and_get_their_own_scale(report: MakeReport, tmp_path: Path) -> None:
    def bleu(name: str, value: float) -> Any:
        plain = score("adgen", value, None, metric="bleu", filter="first-line", fraction=False, higher_is_better=False)
        return report(checkpoint(name), {"adgen": task_info("adgen", 100)}, [plain])

    page = write(tmp_path, bleu("a", 12.3456), bleu("b", 0.012345), bleu("c", 12345.6))
    assert page.values("adgen") == ["12.35", "0.0123", "12,346"]
    assert page.head("adgen") == "adgen bleu ↓ (lower is better) first-line 0-shot, n = 100"
    assert page.cell(2, "adgen").xpath(".//*[@class='point']")[0].get("x1") == "61.73%"
    assert not page.cell(0, "adgen").xpath(".//*[@class='range']")


def test_a_task_that_was_not_evaluated_is_a_dash(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, one_task(report, "a", 0.4), one_task(report, "b", 0.5, task="xnli"))
    assert page.columns == ["Checkpoint", "copa", "xnli", "First run"]
    assert words(page.cell(0, "xnli")) == "–"
    assert page.cell(0, "xnli").get("data-value") is None


# Rows


def test_one_checkpoint_in_two_reports_is_one_row_and_the_newest_wins(report: MakeReport, tmp_path: Path) -> None:
    newest = one_task(report, "a", 0.6, day=9)
    page = write(tmp_path, newest, one_task(report, "a", 0.4, day=2), one_task(report, "a", 0.7, task="xnli", day=3))
    assert page.names == ["a"]
    assert (page.values("copa"), page.values("xnli")) == (["60.0"], ["70.0"])
    assert "nothing: newer reports replace it" in page.card(0)


def test_a_later_limited_report_does_not_replace_a_full_one(report: MakeReport, tmp_path: Path) -> None:
    few = one_task(report, "a", 0.0, info=task_info("copa", 3, documents_in_split=100), protocol={"limit": 3}, day=9)
    page = write(tmp_path, one_task(report, "a", 0.4, day=2), few)
    assert page.values("copa") == ["40.0"]


def test_prompts_that_were_cut_are_marked(report: MakeReport, tmp_path: Path) -> None:
    uncut = [one_task(report, name, 0.5) for name in "ab"]
    cut = one_task(report, "c", 0.5, info=task_info("copa", 100, truncated=7))
    page = write(tmp_path, *uncut, cut)
    assert "7 prompts cut to fit the context instead of 0" in page.cell(2, "copa").get("title")


def test_a_named_average_is_compared_over_its_own_tasks_only(report: MakeReport, tmp_path: Path) -> None:
    # `ceval/STEM` is over the last two subjects; the prompts of the first differ.
    different = {SUBJECTS[0]: task_info(SUBJECTS[0], 20, 5, "otherwise")}
    tasks = {name: task_info(name, 20, 5) for name in SUBJECTS}
    parts = [score(name, 0.5, 0.1, 20, headline=False) for name in SUBJECTS]
    scores = [average("ceval", parts, headline=True), *parts, average("ceval/STEM", parts[1:])]
    page = write(
        tmp_path,
        *(report(checkpoint(n), tasks, scores) for n in "ab"),
        report(checkpoint("c"), tasks | different, scores),
    )
    assert "different prompts" in page.cell(2, "ceval").get("title")
    (line,) = [line for line in page.section("ceval") if "ceval/STEM" in " ".join(line)]
    assert "different prompts" not in " ".join(line)


def test_all_metrics_of_a_task_come_from_one_run(report: MakeReport, tmp_path: Path) -> None:
    task = {"copa": task_info("copa", 100)}
    old = report(checkpoint("a"), task, [score("copa", 0.4), score("copa", 0.3, metric="f1", primary=False)], day=1)
    page = write(tmp_path, old, report(checkpoint("a"), task, [score("copa", 0.5)], day=2))
    assert page.values("copa") == ["50.0"]
    assert page.section("copa") == []


def test_checkpoints_of_the_same_name_show_their_fingerprints(report: MakeReport, tmp_path: Path) -> None:
    task, result = {"copa": task_info("copa", 100)}, [score("copa", 0.5)]
    fingerprints = ("abcdef0011", "abcdef0022", "ffff")
    page = write(
        tmp_path, *(report(checkpoint("same", p), task, result, day=d) for d, p in enumerate(fingerprints[:2], 1))
    )
    assert page.names == ["same abcdef001", "same abcdef002"]
    page = write(tmp_path, report(checkpoint("same", fingerprints[0]), task, result), one_task(report, "other", 0.5))
    assert page.names == ["same", "other"]


def test_rows_are_sorted_by_the_date_of_the_first_report(report: MakeReport, tmp_path: Path) -> None:
    late, early = one_task(report, "late", 0.5, day=8), one_task(report, "early", 0.5, day=3)
    page = write(tmp_path, late, early, one_task(report, "early", 0.5, task="xnli", day=20))
    assert page.names == ["early", "late"]


def test_a_card_states_a_checkpoints_properties_and_cost(report: MakeReport, tmp_path: Path) -> None:
    stage = checkpoint(
        "stage2", kind="lora", base="tiny", adapter="out/stage2", trainable_share=0.0125, adapter_effect=4.3
    )
    protocol = {"limit": 7, "num_fewshot": 3, "chat_template": "c0ffee00" + "0" * 56, "seed": 99}
    written = report(
        stage, {"copa": task_info("copa", 7)}, [score("copa", 0.5)], protocol=protocol, notes=["a prompt was cut"]
    )
    card = write(tmp_path, written).card(0)
    for fact in (
        *("lora", "tiny", "out/stage2", "float32", "cpu", "42.0 M, 1.25 % in the adapter", stage.fingerprint),
        *("2026-01-01 08:30", "13,548", "1 min 15 s", "1.5 GiB", "c0ffee00", "99", "a prompt was cut"),
    ):
        assert fact in card


# Scores that are not comparable


def test_different_prompts_are_marked_with_the_reason(report: MakeReport, tmp_path: Path) -> None:
    other = task_info("copa", 100, 5)
    page = write(
        tmp_path, one_task(report, "a", 0.4), one_task(report, "b", 0.9, info=other), one_task(report, "c", 0.41)
    )
    cell = page.cell(1, "copa")
    assert words(cell) == "90.0 88.0–92.0 different prompts"
    assert "5-shot instead of 0-shot" in cell.get("title")
    note = page.root.get_element_by_id(cell.xpath("a")[0].get("href")[1:])
    assert words(note) == "b copa different prompts: 5-shot instead of 0-shot"
    assert [is_best(page.cell(row, "copa")) for row in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    ("changes", "mark", "reason"),
    [
        ({"prompt_hash": "0"}, "different prompts", "the text of the prompts differs"),
        ({"version": "2"}, "different version", "task version 2 instead of task version 1"),
        (
            {"dataset": "invented/else"},
            "different data",
            "invented/else, split test instead of invented/copa, split test",
        ),
        ({"documents": 40}, "different documents (n = 40)", "40 documents instead of 100"),
    ],
)
def test_every_difference_has_a_label_and_a_reason(
    report: MakeReport, tmp_path: Path, changes: dict[str, Any], mark: str, reason: str
) -> None:
    info = task_info("copa", **{"documents": 100} | changes)
    page = write(
        tmp_path, one_task(report, "a", 0.4), one_task(report, "b", 0.4), one_task(report, "c", 0.4, info=info)
    )
    assert [words(a) for a in page.cell(2, "copa").xpath("a")] == [mark]
    assert reason in page.cell(2, "copa").get("title")


def test_a_chat_template_is_a_reason_for_different_prompts(report: MakeReport, tmp_path: Path) -> None:
    plain = [one_task(report, name, 0.4) for name in "ab"]
    chat = one_task(report, "c", 0.5, info=task_info("copa", 100, wording="chat"), protocol={"chat_template": "f" * 64})
    page = write(tmp_path, *plain, chat)
    assert "different prompts: a chat template" in page.cell(2, "copa").get("title")


def test_of_equally_frequent_conditions_the_larger_are_the_reference(report: MakeReport, tmp_path: Path) -> None:
    limited = one_task(report, "a", 0.4, info=task_info("copa", 10, documents_in_split=100), protocol={"limit": 10})
    page = write(tmp_path, limited, one_task(report, "b", 0.5))
    assert "different documents (n = 10)" in words(page.cell(0, "copa"))
    assert "because of limit 10" in page.cell(0, "copa").get("title")
    assert "n = 100" in page.head("copa")
    assert words(page.root.xpath("//tbody/tr/th/span[@class='about']/span[@class='mark']")[0]) == "limit 10"


def test_equally_limited_runs_are_compared_but_marked(report: MakeReport, tmp_path: Path) -> None:
    info = task_info("copa", 10, documents_in_split=100)
    runs = [one_task(report, name, 0.4, info=info, protocol={"limit": 10}) for name in "ab"]
    cell = write(tmp_path, *runs).cell(0, "copa")
    assert words(cell) == "40.0 38.0–42.0 limit 10, n = 10"
    assert is_best(cell)


def test_an_average_is_compared_over_its_tasks(report: MakeReport, tmp_path: Path) -> None:
    plain = [ceval(report, checkpoint(name), 0.6) for name in "ab"]
    reworded = ceval(report, checkpoint("c"), 0.6, wording="new")
    limited = ceval(report, checkpoint("d"), 0.6, documents=5, protocol={"limit": 5})
    page = write(tmp_path, *plain, reworded, limited)
    assert "mean over 3 tasks 5-shot, n = 60" in page.head("ceval")
    assert "the text of the prompts differs in 3 of 3 tasks" in page.cell(2, "ceval").get("title")
    assert "15 documents instead of 60 in 3 of 3 tasks, because of limit 5" in page.cell(3, "ceval").get("title")
    assert not page.cell(0, "ceval").xpath("*[@class='mark']")


def test_an_average_over_other_tasks_is_marked(report: MakeReport, tmp_path: Path) -> None:
    def run(name: str, tasks: tuple[str, ...]) -> Any:
        parts = [score(task, 0.5, headline=False) for task in tasks]
        infos = {task: task_info(task, 100) for task in (*tasks, "unrelated")}
        return report(checkpoint(name), infos, [average("ceval", parts, headline=True), *parts])

    page = write(tmp_path, run("a", SUBJECTS), run("b", SUBJECTS), run("c", SUBJECTS[:2]))
    assert "different tasks: lacks 1 task of 3: ceval_physics" in page.cell(2, "ceval").get("title")


# Leaders


def test_all_within_noise_of_the_best_are_marked_as_best(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, *(one_task(report, str(v), v) for v in (0.50, 0.53, 0.545, 0.60, 0.63)))
    assert [is_best(page.cell(row, "copa")) for row in range(5)] == [False, False, False, True, True]


def test_lower_can_be_better_and_without_intervals_only_equal_scores_tie(report: MakeReport, tmp_path: Path) -> None:
    def loss(name: str, value: float) -> Any:
        plain = score("wiki", value, None, metric="bits_per_byte", fraction=False, higher_is_better=False)
        return report(checkpoint(name), {"wiki": task_info("wiki", 100)}, [plain])

    page = write(tmp_path, loss("a", 0.91), loss("b", 0.9), loss("c", 0.9))
    assert [is_best(page.cell(row, "wiki")) for row in range(3)] == [False, True, True]


def test_one_checkpoint_alone_is_not_the_best(report: MakeReport, tmp_path: Path) -> None:
    assert not is_best(write(tmp_path, one_task(report, "a", 0.9)).cell(0, "copa"))


# Detail tables


def test_named_averages_and_tasks_are_listed_under_their_headline(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, ceval(report, checkpoint("a"), 0.61), ceval(report, checkpoint("b"), 0.62))
    assert page.columns == ["Checkpoint", "ceval", "First run"]
    lines = page.section("ceval")
    assert [line[0] for line in lines] == ["ceval/STEM mean over tasks", *SUBJECTS]
    assert lines[1][1:] == ["20", "61.0 51.0–71.0", "62.0 52.0–72.0"]
    assert page.root.get_element_by_id("task-ceval").get("open") is None


def test_other_metrics_and_other_tasks_are_listed(report: MakeReport, tmp_path: Path) -> None:
    tasks = {"copa": task_info("copa", 100), "stray": task_info("stray", 100)}
    scores = [
        score("copa", 0.4),
        score("copa", 0.3, metric="f1", primary=False),
        score("stray", 0.2, headline=False),
    ]
    page = write(tmp_path, report(checkpoint("a"), tasks, scores))
    assert page.section("copa")[0][:3] == ["copa", "100", "30.0 28.0–32.0"]
    assert page.section("Other")[0][0] == "stray"


# Safety and files


def test_everything_is_escaped(report: MakeReport, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    quote = "\"' onmouseover='alert(2)"
    named = checkpoint(evil, reference=quote, base=evil, adapter=evil, kind=evil, fingerprint=quote)
    scores = [score(evil, 0.5, metric=quote, filter=evil), score(quote, 0.5, headline=False)]
    written = report(named, {evil: task_info(evil, 9), quote: task_info(quote, 9)}, scores, notes=[evil])
    page = write(tmp_path, written)
    assert "<script>alert" not in page.text
    assert page.names == [evil]
    assert [s.get("src") for s in page.root.iter("script")] == ["table.js"]
    assert not page.root.xpath("//@onmouseover")
    assert page.columns[1] == evil


def test_the_site_needs_only_its_own_files(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, one_task(report, "a", 0.5))
    links = {str(value) for value in page.root.xpath("//*[not(self::a)]/@src | //*[not(self::a)]/@href")}
    assert links == {"table.js", "table.css", "data:,"}
    for name in (site.PAGE, *site.ASSETS):
        content = (tmp_path / "site" / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not any(word in content for word in ("http:", "https:", "url(", "@import", "fetch(", "Storage"))


def test_the_same_reports_give_the_same_files_and_only_changes_are_written_again(
    report: MakeReport, tmp_path: Path
) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    reports = [one_task(report, "a", 0.5), one_task(report, "b", 0.6)]
    first, again = (site.build(reports, tmp_path / name).page.parent for name in ("one", "two"))
    assert content(first) == content(again)
    before = {file.name: file.stat().st_ino for file in (first / chunks.FOLDER).glob("*.js")}
    site.build([*reports, one_task(report, "c", 0.7)], first)
    after = {file.name: file.stat().st_ino for file in (first / chunks.FOLDER).glob("*.js")}
    assert before.keys() - after.keys(), "a document that no page reads any more is deleted"
    assert all(after[name] == inode for name, inode in before.items() if name in after)


def test_the_page_states_its_contents(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, one_task(report, "a", 0.5), one_task(report, "a", 0.5, task="xnli"))
    assert page.root.get("lang") == "en"
    assert "1 checkpoint from 2 reports, made 20" in words(page.root.xpath("//header")[0])
    assert "95 % interval" in words(page.root).replace("\xa0", " ")


def test_an_earlier_site_is_replaced(report: MakeReport, tmp_path: Path) -> None:
    write(tmp_path, one_task(report, "before", 0.5))
    assert write(tmp_path, one_task(report, "after", 0.5)).names == ["after"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_site_appears_whole_or_not_at_all(
    report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    def write_text(self: Path, *arguments: str, **options: str) -> int:
        if self.name.startswith(f".{refused[-1]}."):
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return written(self, *arguments, **options)

    written, folder, refused = Path.write_text, tmp_path / "deep" / "site", [""]
    reports = [one_task(report, "a", 0.5)]
    if is_there:
        folder.mkdir(parents=True)
    monkeypatch.setattr(Path, "write_text", write_text)
    for name in (site.PAGE, site.TABLE, *site.ASSETS):
        refused.append(name)
        with pytest.raises(HarnessError, match=r"\(No space left on device\): make room there, or choose another"):
            site.build(reports, folder)
        assert [path.name for path in folder.parent.iterdir()] == ["site"] * is_there
        assert {path.name for path in folder.iterdir()} <= {chunks.FOLDER} if is_there else True
    refused.append("")
    site.build(reports, folder)
    assert {path.name for path in folder.iterdir()} == {site.PAGE, site.TABLE, *site.ASSETS, chunks.FOLDER}


def test_no_reports_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="at least one report"):
        site.build([], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_no_headline_score_is_an_error(report: MakeReport, tmp_path: Path) -> None:
    bare = report(checkpoint("a"), {"copa": task_info("copa", 9)}, [score("copa", 0.5, headline=False)])
    with pytest.raises(HarnessError, match="headline"):
        site.build([bare], tmp_path / "site")


def test_a_file_is_not_overwritten(report: MakeReport, tmp_path: Path) -> None:
    (tmp_path / "site").write_text("mine")
    with pytest.raises(HarnessError, match="is a file"):
        site.build([one_task(report, "a", 0.5)], tmp_path / "site")
    assert (tmp_path / "site").read_text() == "mine"


def test_the_library_imports_neither_torch_nor_lm_eval() -> None:
    code = "import sys, harness.leaderboard.site; print([m for m in ('torch', 'lm_eval') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("written", "text"),
    [(0.4, "0.4 s"), (75, "1 min 15 s"), (3599.7, "1 h 0 min"), (4320, "1 h 12 min")],
)
def test_durations_are_readable(written: float, text: str) -> None:
    assert numbers_in_words.duration(written) == text


def test_the_command_prints_the_page(report: MakeReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.verbs.leaderboard import leaderboard

    one_task(report, "a", 0.5)
    leaderboard([tmp_path / "reports"], tmp_path / "out")
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'out' / 'index.html'}\n"
    assert re.fullmatch(r"the site has 0\.\d MB\n", printed.err)
