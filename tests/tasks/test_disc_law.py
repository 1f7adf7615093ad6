"""DISC-Law-Eval's objective tests: upstream's prompt, byte for byte, the letters it reads, and its averages."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from harness.common.resources import folder
from harness.tasks.catalogue import Catalogue
from support import mirrors, scripted

SUBJECTS = {"single": ("nje", "pae", "cpa", "ungee", "lbk", "pfe"), "multiple": ("nje", "pae", "cpa", "ungee")}
TASKS = [f"disc_law_{kind}_{subject}" for kind, subjects in SUBJECTS.items() for subject in subjects]


def row(question: str, output: str, *options: str) -> dict[str, Any]:
    return {"input": question, "output": output, **dict(zip("ABCD", options, strict=True)), "source": "invented"}


# The rows contain text that a prompt must not change: line ends, spaces, template braces.
ROWS = [
    row("小船归谁？\n", "B", "甲", "乙", "丙", "丁"),
    row(" 哪些{{ 果子 }}能吃？", "ACD", "梨", "石头 ", "桃", "{% if %}"),
    row("渡口几点开？", "A", "六点", "七点", "八点", "九点"),
    row("谁先过河？", "BD", "羊", "狼", "菜", "人"),
    row("桥在哪里？", "C", "东", "南", "西", "北"),
    row("灯要点吗？", "D", "要", "不要", "随便", "不知道"),
]
HEAD = "以下是一道{}选择题，不需要做任何分析和解释，直接输出答案选项。\n下面给出了4个样例，按照此样例输出答案。\n\n"
SHOTS = [
    "问题：小船归谁？\n\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：B. 乙\n\n",
    "问题： 哪些{{ 果子 }}能吃？\nA. 梨\nB. 石头 \nC. 桃\nD. {% if %}\n答案：A. 梨\nC. 桃\nD. {% if %}\n\n",
    "问题：渡口几点开？\nA. 六点\nB. 七点\nC. 八点\nD. 九点\n答案：A. 六点\n\n",
    "问题：谁先过河？\nA. 羊\nB. 狼\nC. 菜\nD. 人\n答案：B. 狼\nD. 人\n\n",
    "问题：桥在哪里？\nA. 东\nB. 南\nC. 西\nD. 北\n答案：C. 西\n\n",
]
LAST = "下面是问题：\n灯要点吗？\nA. 要\nB. 不要\nC. 随便\nD. 不知道\n答案："
SECOND = "下面是问题：\n 哪些{{ 果子 }}能吃？\nA. 梨\nB. 石头 \nC. 桃\nD. {% if %}\n答案："


@pytest.fixture
def mirror(tmp_path):
    for kind, subjects in SUBJECTS.items():
        for subject in subjects:
            mirrors.write(tmp_path / "data", "FudanDISC/DISC-Law-Eval", f"mcq_{kind[:4]}_{subject}", test=ROWS)
    return tmp_path / "data"


@pytest.mark.parametrize(("kind", "word"), [("single", "单项"), ("multiple", "多项")])
def test_the_prompt_has_the_first_four_other_questions_and_upstreams_framing(mirror, kind, word):
    built = mirrors.task(f"disc_law_{kind}_cpa", mirror)
    requests = mirrors.requests(built)
    assert requests[5][0] == HEAD.format(word) + "".join(SHOTS[:4]) + LAST
    assert requests[1][0] == HEAD.format(word) + SHOTS[0] + "".join(SHOTS[2:5]) + SECOND
    until = ["\n\n问题：", "\n\n下面是问题："]
    assert requests[0][1] == {"until": until, "do_sample": False, "max_gen_toks": 1024}
    assert [built.doc_to_target(doc) for doc in built.eval_docs] == [row["output"] for row in ROWS]


@pytest.mark.parametrize(
    ("response", "letters", "score"),
    [("ACD", "ACD", 1), ("A、C", "AC", 0), ("A. 梨\nC. 桃\nD. 米，都能吃", "ACD", 1), ("DCA", "ACD", 1), ("", "", 0)],
)
def test_exactly_the_right_letters_count(mirror, response, letters, score):
    built = mirrors.task("disc_law_multiple_nje", mirror)
    built.build_all_requests()
    for instance in built.instances:
        instance.resps = [response]
    built.apply_filters()
    assert built.instances[1].filtered_resps == {"disc-law": letters}
    assert built.process_results(ROWS[1], [letters]) == {"exact_set": score}


def test_its_averages_are_over_columns(mirror, tmp_path, monkeypatch):
    responses = {
        f"{row['input']}\nA. {row['A']}\nB. {row['B']}\nC. {row['C']}\nD. {row['D']}\n答案：": "ACD" for row in ROWS
    }
    mirrors.write(mirror, "FudanDISC/DISC-Law-Eval", "mcq_mult_pae", test=[ROWS[1], *ROWS[2:]])
    report = scripted.report(monkeypatch, tmp_path, mirror, responses, "disc_law")
    scores = {score.task: score for score in report.manifest.scores}
    assert {name for name in scores if "/" not in name} == {"disc_law", *TASKS}
    assert scores["disc_law_multiple_pae"].value == pytest.approx(1 / 5)
    assert scores["disc_law/single"].value == pytest.approx(1 / 6)
    assert scores["disc_law/multiple"].value == pytest.approx((3 / 6 + 1 / 5) / 4)
    assert scores["disc_law"].value == pytest.approx((9 / 6 + 1 / 5) / 10)
    assert (scores["disc_law"].average, scores["disc_law"].n) == ("task", 59)
    assert scores["disc_law/single"].chance == pytest.approx(0.25)
    samples = report.samples("disc_law_single_lbk").set_index("doc_id")
    assert [*samples.loc[1, ["prediction", "target"]]] == ["ACD", "ACD"]


def test_a_checkpoint_answers_it(mirror, tmp_path):
    report = scripted.answered(tmp_path, mirror, "disc_law_single_pfe", max_gen_toks=8)
    assert report.manifest.tasks["disc_law_single_pfe"].num_fewshot == 4
    assert len(report.samples("disc_law_single_pfe")) == 6


@pytest.mark.data
def test_the_tests_have_all_of_upstreams_questions(data):
    sizes = {name: len(task.documents) for name, task in Catalogue().load(["disc_law"], data).tasks.items()}
    assert [*sizes.values()] == [537, 118, 197, 320, 275, 170, 463, 276, 120, 87]


def test_the_fetch_command_makes_a_mirror_from_a_clone_of_upstreams_repository(tmp_path):
    mirror = tmp_path / "FudanDISC" / "DISC-Law-Eval"
    files = mirror / "eval" / "datasets" / "objective"
    files.mkdir(parents=True)
    head = "input,output,A,B,C,D,source,multichoice\n"
    lines = "".join(f"第{n}题,A,甲,乙,丙,丁,invented,False\n" for n in range(6))
    (files / "mcq_sing_lbk.csv").write_text(head + lines, encoding="utf-8")
    config = yaml.safe_load(
        re.sub("!function", "", (folder("tasks") / "disc_law/_disc_law_single_yaml").read_text("utf-8"))
    )
    clone, convert = config["metadata"]["fetch"].replace("DIR", str(tmp_path)).split(" && ", 1)
    assert clone == f"git clone --depth 1 https://github.com/FudanDISC/DISC-LawLLM {mirror}"
    subprocess.run(["bash", "-ec", convert], check=True)
    built = mirrors.task("disc_law_single_lbk", tmp_path)
    assert mirrors.requests(built)[0][0].endswith("下面是问题：\n第0题\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：")
