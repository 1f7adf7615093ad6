"""`make oracle`: the published answers from which LawBench's scores read nothing, by task and by shape.

A shape holds no text of the data: every run of Chinese characters but a few cue words is …, and so is prose.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from harness.metrics.lawbench.published import SCORERS
from harness.metrics.lawbench.repaired import REPAIRED_SCORERS

pytestmark = [pytest.mark.oracle, pytest.mark.data]

REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-lawbench-answers-not-understood.md"
WITHOUT_NOTION = ("1-1", "2-1", "2-5", "2-7", "3-2", "3-8")
"""Tasks whose answers are only compared with a text."""
MOST_SHAPES = 10
CUES = (
    *(
        "正确答案",
        "答案",
        "争议焦点类别",
        "争议焦点",
        "类别",
        "标签",
        "罪名",
        "刑期",
        "法条",
        "金额",
        "实体类型",
        "实体信息",
        "问题",
        "回答",
    ),
    *("刑法", "第", "条", "款", "个月", "月", "年", "元", "无期徒刑", "无", "罪"),
)
"""The Chinese words that a shape keeps: those of LawBench's own formats."""
_WORDS = "|".join(CUES)
_TOKEN = re.compile(
    rf"(?P<mark></?[A-Za-z|_]{{1,20}}>|\[eo[as]\])|(?P<cue>{_WORDS})|(?P<chinese>(?:(?!{_WORDS})[一-鿿㐀-䶿×Ⅰ-Ⅻ])+)"
    r"|(?P<digits>[0-9０-９]+)|(?P<letter>(?<![A-Za-z])[A-E](?![A-Za-z]))|(?P<latin>[A-Za-z]+)|(?P<space>\s+)|(?P<other>.)",
    re.IGNORECASE,
)
_SIGNS = {"chinese": "…", "digits": "9", "letter": "X", "latin": "…"}
_PROSE = re.compile(r"…(?:[ ⏎9X，。、；：“”‘’（）()《》.,;:!?？！'\"*\-—/%+]*…)+")
_REPEATED = re.compile(r"(.{1,12}?)\1{2,}")
HEAD = """# LawBench's published answers that nothing is read from, {today}

Made by `make oracle` (tests/oracle/test_answers_not_understood.py) from the answers that open-compass/LawBench
publishes of ten models, zero-shot, 500 a task; of its one-shot answers, no copy is at hand.

An answer is not understood if the score counts it as an abstention: as published, or repaired
(`harness.metrics.lawbench.repaired`). For 2-6 LawBench publishes 0. Empty answers hold nothing but white space and end
marks. The repaired scores read less of 1-2, 2-8 and 3-6 where the published ones read the letters of English words.

| task | answers | not understood, published | repaired | of these empty | most, repaired |
|---|---|---|---|---|---|
{tasks}

## The commonest shapes of what the repaired scores do not read

… is any run of Chinese or Latin words, and prose as a whole; 9 a number, X a single letter, ⏎ a line end, ↻ what is
repeated three times or more. Empty answers are left out.

{shapes}
"""


def test_answers_not_understood_are_listed_by_shape(data: Path) -> None:
    tasks, shapes = [], []
    for task in (name for name in SCORERS if name not in WITHOUT_NOTION):
        rows = answers(data, task)
        if not rows:
            continue
        unread = {
            kind: [(model, text) for model, text, reference in rows if by_task[task](text, reference).abstained]
            for kind, by_task in (("published", SCORERS), ("repaired", {**SCORERS, **REPAIRED_SCORERS}))
        }
        repaired = unread["repaired"]
        empty = sum(shape(text) == "" for _, text in repaired)
        models = Counter(model for model, _ in repaired).most_common(2)
        most = ", ".join(f"{model} {count}" for model, count in models)
        tasks.append(
            f"| {task} | {len(rows):,} | {len(unread['published']):,} | {len(repaired):,} | {empty:,} | {most} |"
        )
        counts = Counter(filter(None, (shape(text) for _, text in repaired)))
        lines = (f"| {count:,} | `{form}` |" for form, count in counts.most_common(MOST_SHAPES))
        shapes.append("\n".join([f"### {task}", "", "| answers | shape |", "|---|---|", *lines, ""]))
    text = HEAD.format(today=f"{date.today():%Y-%m-%d}", tasks="\n".join(tasks), shapes="\n".join(shapes).rstrip())
    chinese = {*re.findall(r"[一-鿿]+", "\n".join(shapes))}
    assert chinese <= {*CUES} | {a + b for a in CUES for b in CUES} | {
        a + b + c for a in CUES for b in CUES for c in CUES
    }
    REPORT.write_text(text, encoding="utf-8")


def answers(data: Path, task: str) -> list[tuple[str, str, str]]:
    """Return the model, the answer and the reference of every published answer to a task."""
    rows = []
    for file in sorted((data / "predictions" / "lawbench-zero-shot").glob("*.tar.xz")):
        with tarfile.open(file) as archive:
            for member in archive:
                if Path(member.name).stem == task and (content := archive.extractfile(member)):
                    listed = json.load(io.TextIOWrapper(content, encoding="utf-8")).values()
                    model = file.name.removesuffix(".tar.xz")
                    rows += [(model, row["prediction"], row["refr"]) for row in listed]
    return rows


def shape(text: str) -> str:
    """Return the form of an answer without its words; empty if it holds only white space and end marks."""
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(text[:600])]
    if all(kind in ("mark", "space") for kind, _ in tokens):
        return ""
    signs = [_SIGNS.get(kind) or (_space(token) if kind == "space" else token) for kind, token in tokens]
    form = _PROSE.sub("…", "".join(signs))
    form = _REPEATED.sub(r"\1↻", form)
    return form.replace("|", "¦").replace("`", "'").strip(" ")[:60]


def _space(token: str) -> str:
    return "⏎" if "\n" in token else " "


def test_a_shape_holds_no_words() -> None:
    assert shape("[正确答案]无<eoa>") == "[正确答案]无<eoa>"
    assert shape("[罪名]偷鸡罪<eoa>\n") == "[罪名]…罪<eoa>⏎"
    assert shape("渡船应当靠岸，I see page 3。") == "… 9。"
    assert shape(" \n<eoa>") == ""
    assert shape("[ ]、" * 50).startswith("[ ]、↻")
