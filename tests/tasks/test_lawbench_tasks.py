"""LawBench's 40 tasks: OpenCompass's prompt, byte for byte, upstream's rates to the last digit, and repaired scores."""

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
FEW_TASKS = ("1-2", "2-1", "2-2", "2-6", "3-4")


def name(task: str, suffix: str = "") -> str:
    return f"lawbench{suffix}_{task.replace('-', '_')}"


def document(task: str, number: int, answer: str) -> dict[str, str]:
    # Contains text that a prompt must not change: carriage returns, template braces, surrounding white space.
    return {
        "instruction": f"第{task}题的要求 {{{{ 不变 }}}}。句子："
        if task == "2-1"
        else f"第{task}题的要求 {{{{ 不变 }}}}：\n",
        "question": f"渡口己经关闭{'啊' * number}。" if task == "2-1" else f" 第{number}问\r\n内容 ",
        "answer": answer,
    }


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    data = tmp_path_factory.mktemp("mirror") / "data"
    for task, answer in ANSWERS.items():
        for suffix in ("", "_one_shot"):
            rows = [document(task, number, answer) for number in range(3)]
            mirrors.write(data, "open-compass/LawBench", task + suffix, test=rows)
    return data


@pytest.mark.parametrize("suffix", ["", "_one_shot"])
def test_the_prompt_is_the_instruction_a_line_end_and_the_question(mirror, suffix):
    settings = {"until": [], "do_sample": False, "max_gen_toks": 1024}
    requests = mirrors.requests(mirrors.task(name("3-4", suffix), mirror))
    assert requests[1] == ("第3-4题的要求 {{ 不变 }}：\n\n 第1问\r\n内容 ", settings)
    requests = mirrors.requests(mirrors.task(name("2-1", suffix), mirror))
    assert requests[0] == ("第2-1题的要求 {{ 不变 }}。句子：\n渡口己经关闭。", settings)


@pytest.mark.parametrize("suffix", ["", "_one_shot"])
def test_each_group_is_its_twenty_tasks_with_a_score_and_an_abstention_rate_each(mirror, suffix):
    loaded = Catalogue().load([f"lawbench{suffix}"], mirror)
    assert [*loaded.tasks] == [name(task, suffix) for task in IDS]
    for task in IDS:
        built = loaded.tasks[name(task, suffix)].lm_eval
        assert built.config.dataset_name == task + suffix
        directions = {metric.name: metric.higher_is_better for metric in Task(built).metrics}
        repaired = {"score_repaired": True} if task in REPAIRED_SCORERS or task == "2-1" else {}
        repaired |= {"abstention_repaired": False} if task in REPAIRED_SCORERS else {}
        assert directions == {"score": True, "abstention": False, **repaired}
        assert Task(built).metrics[0].name == "score"
        [scored, *_] = [built.process_results(doc, [doc["answer"]]) for doc in built.eval_docs]
        assert scored.keys() == directions.keys()
        if task in REPAIRED_SCORERS:
            assert scored["score_repaired"] == pytest.approx(1)


def test_what_upstream_leaves_out_of_its_average_stays_in_the_abstention_rate(tmp_path, monkeypatch):
    disputes = ["争议焦点类别：违约。", "争议焦点类别：赔偿。", "争议焦点类别：利息。"]
    terms = ["刑期:无期徒刑", "刑期:18个月", "刑期:6个月", "刑期:6个月"]
    corrected = ["渡口已经关闭。", "渡口己经关闭啊。", "渡口已经关闭啊啊。"]
    mirror = tmp_path / "data"
    for task, answers in (("2-2", disputes), ("3-4", terms), ("2-1", corrected)):
        rows = [document(task, number, answer) for number, answer in enumerate(answers)]
        mirrors.write(mirror, "open-compass/LawBench", task, test=rows)
    responses = {
        f"第2-2题的要求 {{{{ 不变 }}}}：\n\n 第{n}问\r\n内容 ": text for n, text in enumerate(["违约", "利息", "无"])
    }
    term_responses = ["无", "1年6个月", "六个月", "2015年3月"]
    responses |= {f"第3-4题的要求 {{{{ 不变 }}}}：\n\n 第{n}问\r\n内容 ": text for n, text in enumerate(term_responses)}
    corrections = ["渡口已经关闭。", "渡口已经关闭啊。", ""]
    responses |= {f"句子：\n渡口己经关闭{'啊' * n}。": text for n, text in enumerate(corrections)}
    report = scripted.report(monkeypatch, tmp_path, mirror, responses, *map(name, ("2-2", "3-4", "2-1")))
    scores = {(score.task, score.metric): (score.value, score.n) for score in report.manifest.scores}
    assert scores[name("2-2"), "score"] == (pytest.approx(1 / 2), 2)  # 赔偿 is not one of the sixteen
    assert scores[name("2-2"), "abstention"] == (pytest.approx(1 / 3), 3)
    assert scores[name("3-4"), "score_repaired"] == (pytest.approx(2 / 3), 3)
    assert scores[name("3-4"), "score"][1] == 3
    assert scores[name("3-4"), "score"][0] < 1
    assert scores[name("3-4"), "abstention"] == (pytest.approx(0), 4)
    assert scores[name("3-4"), "abstention_repaired"] == (pytest.approx(1 / 4), 4)  # 2015年3月 is a date
    # One hit; one surplus edit; and for the empty answer, read as 无内容, one surplus edit and one missed.
    assert scores[name("2-1"), "score"] == (pytest.approx(1.25 / (1.25 + 0.25 * 1 + 2)), 3)
    # The task's own prompt contains no text of a chat template.
    assert scores[name("2-1"), "score_repaired"] == scores[name("2-1"), "score"]
    samples = report.samples(name("3-4")).set_index("doc_id")
    assert [*samples.loc[1, ["prediction", "target"]]] == ["1年6个月", "刑期:18个月"]
    assert samples["score"].isna().tolist() == [True, False, False, False]


def test_a_checkpoint_answers_a_few_tasks(mirror, tmp_path):
    report = scripted.answered(tmp_path, mirror, *map(name, FEW_TASKS), max_gen_toks=4)
    for task in FEW_TASKS:
        assert len(report.samples(name(task))) == 3


@pytest.mark.oracle
@pytest.mark.parametrize("suffix", ["", "_one_shot"])
def test_a_checkpoint_answers_all_tasks_and_averages_are_over_tasks(mirror, tmp_path, suffix):
    report = scripted.answered(tmp_path, mirror, f"lawbench{suffix}", max_gen_toks=4)
    scores = {(score.task, score.metric): score.value for score in report.manifest.scores}
    for metric in ("score", "abstention"):
        for group, prefix in (("", ""), ("/Memorization", "1"), ("/Understanding", "2"), ("/Applying", "3")):
            values = [scores[name(task, suffix), metric] for task in IDS if task.startswith(prefix)]
            assert scores[f"lawbench{suffix}{group}", metric] == pytest.approx(sum(values) / len(values))
    assert (f"lawbench{suffix}", "score_repaired") not in scores


def published(data: Path, model: str, task: str) -> tuple[list[dict[str, Any]], tuple[float, float]]:
    """Return a model's published answers to a task, and its published score and abstention rate."""
    with tarfile.open(data / "predictions" / "lawbench-zero-shot" / f"{model}.tar.xz") as archive:
        file = archive.extractfile(f"{model}/{task}.json")
        assert file is not None
        rows = [*json.load(io.TextIOWrapper(file, encoding="utf-8")).values()]
    with (data / "predictions" / "lawbench-zero-shot-results.csv").open(encoding="utf-8") as table:
        [line] = [row for row in csv.DictReader(table) if (row["model_name"], row["task"]) == (model, task)]
    return rows, (float(line["score"]), float(line["abstention_rate"]))


@pytest.mark.data
@pytest.mark.parametrize("task", ["1-2", "2-2", "2-6", "3-1", "3-3", "3-4", "3-5", "3-7"])
def test_published_answers_have_the_published_rates(data, mirror, task):
    rows, expected = published(data, "qwen-7b-chat-hf", task)
    built = mirrors.task(name(task), mirror)
    values: dict[str, list[float]] = {}
    for row in rows:
        prompt = row["origin_prompt"] if isinstance(row["origin_prompt"], str) else row["origin_prompt"][0]["prompt"]
        doc = {"instruction": "", "question": prompt, "answer": row["refr"]}
        for metric, value in built.process_results(doc, [row["prediction"]]).items():
            values.setdefault(metric, []).append(value)
    rates = tuple(built.aggregation()[metric](values[metric]) for metric in ("score", "abstention"))
    assert rates == pytest.approx(expected, abs=PUBLISHED_SCORE)


def test_a_recorded_prompt_is_scored_as_rendered_and_without_its_template(mirror):
    built = mirrors.task(name("2-1"), mirror)
    doc = {"instruction": "", "question": "改正。句子：\n渡口己经关闭。<|im_end|>\n", "answer": "渡口已经关闭。"}
    values = built.process_results(doc, ["渡口已经关闭啊。"])
    assert values["score"] == (1.25 * 2, 1.25 * 2 + 1)  # omitting the template's mark is a hit
    assert values["score_repaired"] == (1.25, 1.25 + 1)


def test_the_fetch_command_makes_a_mirror_from_a_clone_of_upstreams_repository(tmp_path):
    mirror = tmp_path / "open-compass" / "LawBench"
    for kind, shots in (("zero", "零"), ("one", "一")):
        files = mirror / "data" / f"{kind}_shot"
        files.mkdir(parents=True)
        rows = [{"instruction": f"{shots}例：", "question": "问", "answer": "侵权"}]
        (files / "2-4.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    for suffix, shots in (("", "零"), ("_one_shot", "一")):
        text = (folder("tasks") / "lawbench" / f"_lawbench{suffix}_yaml").read_text("utf-8")
        command = yaml.safe_load(re.sub("!function", "", text))["metadata"]["fetch"]
        clone, convert = command.replace("DIR", str(tmp_path)).split(" && ", 1)
        assert clone == f"git clone --depth 1 https://github.com/open-compass/LawBench {mirror}"
        subprocess.run(["bash", "-ec", convert], check=True)
        assert mirrors.requests(mirrors.task(name("2-4", suffix), tmp_path))[0][0] == f"{shots}例：\n问"
