"""LawBench's 40 tasks: OpenCompass's prompt to the byte, upstream's rates to the last digit, repaired scores beside."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.common.resources import folder
from harness.metrics.lawbench.repaired import REPAIRED_SCORERS
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Task
from support import mirrors, scripted
from tolerances import PUBLISHED_SCORE

IDS = [f"1-{n}" for n in (1, 2)] + [f"2-{n}" for n in range(1, 11)] + [f"3-{n}" for n in range(1, 9)]
ANSWERS = {
    "1-1": "答案:渡船应当靠岸。",
    "1-2": "正确答案：B。",
    "2-1": "渡口已经关闭。",
    "2-2": "争议焦点类别：违约。",
    "2-3": "类别:准予离婚。",
    "2-4": "侵权",
    "2-5": "回答:三只羊",
    "2-6": "受害人:李乙;被盗物品:书包",
    "2-7": "渡口关闭。",
    "2-8": "[正确答案]E<eoa>",
    "2-9": "欺骗;获利",
    "2-10": "骗;打",
    "3-1": "法条:刑法第264、275条",
    "3-2": "根据《渡口条例》第三条，渡船应当靠岸。",
    "3-3": "罪名:合同诈骗",
    "3-4": "刑期:18个月",
    "3-5": "刑期:6个月",
    "3-6": "正确答案:C。",
    "3-7": "上文涉及到的犯罪金额:3723.5元。",
    "3-8": "回答:应当赔偿。法律依据:《渡口条例》第五条",
}
FEW = ("1-2", "2-1", "2-2", "2-6", "3-4")


def name(task: str, suffix: str = "") -> str:
    return f"lawbench{suffix}_{task.replace('-', '_')}"


def document(task: str, number: int, answer: str) -> dict[str, str]:
    # What a prompt must leave alone is planted: carriage returns, template braces, spaces and line ends at the ends.
    return {
        "instruction": f"第{task}题的要求 {{{{ 不变 }}}}。句子："
        if task == "2-1"
        else f"第{task}题的要求 {{{{ 不变 }}}}：\n",
        "question": f"渡口己经关闭{'啊' * number}。" if task == "2-1" else f" 第{number}问\r\n内容 ",
        "answer": answer,
    }


@pytest.fixture
def mirror(tmp_path):
    for task, answer in ANSWERS.items():
        for suffix in ("", "_one_shot"):
            rows = [document(task, number, answer) for number in range(3)]
            mirrors.write(tmp_path / "data", "open-compass/LawBench", task + suffix, test=rows)
    return tmp_path / "data"


@pytest.mark.parametrize("suffix", ["", "_one_shot"])
def test_the_prompt_is_the_instruction_a_line_end_and_the_question(mirror, suffix):
    settings = {"until": [], "do_sample": False, "max_gen_toks": 1024}
    asked = mirrors.requests(mirrors.task(name("3-4", suffix), mirror))
    assert asked[1] == ("第3-4题的要求 {{ 不变 }}：\n\n 第1问\r\n内容 ", settings)
    asked = mirrors.requests(mirrors.task(name("2-1", suffix), mirror))
    assert asked[0] == ("第2-1题的要求 {{ 不变 }}。句子：\n渡口己经关闭。", settings)


@pytest.mark.parametrize("suffix", ["", "_one_shot"])
def test_each_group_is_its_twenty_tasks_with_a_score_and_an_abstention_rate_each(mirror, suffix):
    found = Catalogue().load([f"lawbench{suffix}"], mirror)
    assert [*found.tasks] == [name(task, suffix) for task in IDS]
    for task in IDS:
        built = found.tasks[name(task, suffix)].lm_eval
        assert built.config.dataset_name == task + suffix
        told = {one.name: one.higher_is_better for one in Task(built).metrics}
        repaired = {"score_repaired": True} if task in REPAIRED_SCORERS or task == "2-1" else {}
        repaired |= {"abstention_repaired": False} if task in REPAIRED_SCORERS else {}
        assert told == {"score": True, "abstention": False, **repaired}
        assert Task(built).metrics[0].name == "score"
        [scored, *_] = [built.process_results(doc, [doc["answer"]]) for doc in built.eval_docs]
        assert scored.keys() == told.keys()
        if task in REPAIRED_SCORERS:
            assert scored["score_repaired"] == pytest.approx(1)


def test_what_upstream_leaves_out_of_its_average_stays_in_the_rate_of_abstention(tmp_path, monkeypatch):
    disputes = ["争议焦点类别：违约。", "争议焦点类别：赔偿。", "争议焦点类别：利息。"]
    terms = ["刑期:无期徒刑", "刑期:18个月", "刑期:6个月", "刑期:6个月"]
    corrected = ["渡口已经关闭。", "渡口己经关闭啊。", "渡口已经关闭啊啊。"]
    mirror = tmp_path / "data"
    for task, answers in (("2-2", disputes), ("3-4", terms), ("2-1", corrected)):
        rows = [document(task, number, answer) for number, answer in enumerate(answers)]
        mirrors.write(mirror, "open-compass/LawBench", task, test=rows)
    said = {
        f"第2-2题的要求 {{{{ 不变 }}}}：\n\n 第{n}问\r\n内容 ": text for n, text in enumerate(["违约", "利息", "无"])
    }
    terms_said = ["无", "1年6个月", "六个月", "2015年3月"]
    said |= {f"第3-4题的要求 {{{{ 不变 }}}}：\n\n 第{n}问\r\n内容 ": text for n, text in enumerate(terms_said)}
    fixed = ["渡口已经关闭。", "渡口已经关闭啊。", ""]
    said |= {f"句子：\n渡口己经关闭{'啊' * n}。": text for n, text in enumerate(fixed)}
    report = scripted.report(monkeypatch, tmp_path, mirror, said, *map(name, ("2-2", "3-4", "2-1")))
    found = {(score.task, score.metric): (score.value, score.n) for score in report.manifest.scores}
    assert found[name("2-2"), "score"] == (pytest.approx(1 / 2), 2)  # 赔偿 is none of the sixteen
    assert found[name("2-2"), "abstention"] == (pytest.approx(1 / 3), 3)
    assert found[name("3-4"), "score_repaired"] == (pytest.approx(2 / 3), 3)
    assert found[name("3-4"), "score"][1] == 3
    assert found[name("3-4"), "score"][0] < 1
    assert found[name("3-4"), "abstention"] == (pytest.approx(0), 4)
    assert found[name("3-4"), "abstention_repaired"] == (pytest.approx(1 / 4), 4)  # 2015年3月 is a date
    # One hit, one edit that was not to be made, and 无内容 for nothing: one edit made, one missed.
    assert found[name("2-1"), "score"] == (pytest.approx(1.25 / (1.25 + 0.25 * 1 + 2)), 3)
    assert found[name("2-1"), "score_repaired"] == found[name("2-1"), "score"]  # no template's text in a task's prompt
    shown = report.samples(name("3-4")).set_index("doc_id")
    assert [*shown.loc[1, ["prediction", "target"]]] == ["1年6个月", "刑期:18个月"]
    assert shown["score"].isna().tolist() == [True, False, False, False]


def test_a_checkpoint_answers_a_few_kinds(mirror, tmp_path):
    report = scripted.answered(tmp_path, mirror, *map(name, FEW), max_gen_toks=4)
    for task in FEW:
        assert len(report.samples(name(task))) == 3


@pytest.mark.oracle
@pytest.mark.parametrize("suffix", ["", "_one_shot"])
def test_a_checkpoint_answers_all_and_their_averages_are_over_tasks(mirror, tmp_path, suffix):
    report = scripted.answered(tmp_path, mirror, f"lawbench{suffix}", max_gen_toks=4)
    found = {(score.task, score.metric): score.value for score in report.manifest.scores}
    for metric in ("score", "abstention"):
        for group, begins in (("", ""), ("/Memorization", "1"), ("/Understanding", "2"), ("/Applying", "3")):
            values = [found[name(task, suffix), metric] for task in IDS if task.startswith(begins)]
            assert found[f"lawbench{suffix}{group}", metric] == pytest.approx(sum(values) / len(values))
    assert (f"lawbench{suffix}", "score_repaired") not in found


def published(data: Path, model: str, task: str) -> tuple[list[dict[str, Any]], tuple[float, float]]:
    """Return a model's published answers to a task, and its published score and abstention rate."""
    with tarfile.open(data / "predictions" / "lawbench-zero-shot" / f"{model}.tar.xz") as archive:
        file = archive.extractfile(f"{model}/{task}.json")
        assert file is not None
        rows = [*json.load(io.TextIOWrapper(file, encoding="utf-8")).values()]
    with (data / "predictions" / "lawbench-zero-shot-results.csv").open(encoding="utf-8") as table:
        [line] = [one for one in csv.DictReader(table) if (one["model_name"], one["task"]) == (model, task)]
    return rows, (float(line["score"]), float(line["abstention_rate"]))


@pytest.mark.data
@pytest.mark.parametrize("task", ["1-2", "2-2", "2-6", "3-1", "3-3", "3-4", "3-5", "3-7"])
def test_a_task_gives_the_published_rates_of_the_published_answers(data, mirror, task):
    rows, expected = published(data, "qwen-7b-chat-hf", task)
    built = mirrors.task(name(task), mirror)
    values: dict[str, list[float]] = {}
    for row in rows:
        asked = row["origin_prompt"] if isinstance(row["origin_prompt"], str) else row["origin_prompt"][0]["prompt"]
        doc = {"instruction": "", "question": asked, "answer": row["refr"]}
        for metric, value in built.process_results(doc, [row["prediction"]]).items():
            values.setdefault(metric, []).append(value)
    found = tuple(built.aggregation()[metric](values[metric]) for metric in ("score", "abstention"))
    assert found == pytest.approx(expected, abs=PUBLISHED_SCORE)


def test_a_replayed_prompt_is_scored_as_it_was_rendered_and_without_its_template(mirror):
    built = mirrors.task(name("2-1"), mirror)
    doc = {"instruction": "", "question": "改正。句子：\n渡口己经关闭。<|im_end|>\n", "answer": "渡口已经关闭。"}
    found = built.process_results(doc, ["渡口已经关闭啊。"])
    assert found["score"] == (1.25 * 2, 1.25 * 2 + 1)  # the mark left out is a hit
    assert found["score_repaired"] == (1.25, 1.25 + 1)


def test_a_clone_of_upstreams_repository_is_made_a_mirror_by_the_command_that_is_told(tmp_path):
    place = tmp_path / "open-compass" / "LawBench"
    for kind, asked in (("zero", "零"), ("one", "一")):
        files = place / "data" / f"{kind}_shot"
        files.mkdir(parents=True)
        rows = [{"instruction": f"{asked}例：", "question": "问", "answer": "侵权"}]
        (files / "2-4.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    for suffix, asked in (("", "零"), ("_one_shot", "一")):
        text = (folder("tasks") / "lawbench" / f"_lawbench{suffix}_yaml").read_text("utf-8")
        told = yaml.safe_load(re.sub("!function", "", text))["metadata"]["fetch"]
        clone, made = told.replace("DIR", str(tmp_path)).split(" && ", 1)
        assert clone == f"git clone --depth 1 https://github.com/open-compass/LawBench {place}"
        subprocess.run(["bash", "-ec", made], check=True)
        assert mirrors.requests(mirrors.task(name("2-4", suffix), tmp_path))[0][0] == f"{asked}例：\n问"
