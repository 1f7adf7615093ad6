"""ADGEN in three protocols: prompts, what is read in answers, scores, and runs of a tiny checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.metrics.text import copywriting, corpus_bleu
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.samples import digest
from harness.runs.sweep import run
from harness.tasks.protocols import dialogues
from support import mirrors, tiny

CONTENT = "类型#上衣*颜色#白色*风格#简约*衣款式#{{不对称}}"
COPY = "这件白色的上衣，很简约大方，走到哪里都好看。"
ROWS = [{"content": CONTENT, "summary": COPY}, {"content": "类型#裙", "summary": "红色的裙子，飘逸又显瘦。" * 9}]
TASKS = ("adgen", "adgen_chatglm", "adgen_chatglm2")


def written(folder: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    mirrors.write(folder, "shibing624/AdvertiseGen", "default", validation=rows)
    return folder


def answered(built: Any, *answers: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return what the task reads in each document's answers, and what it makes of that."""
    built.build_all_requests()
    for instance, said in zip(built.instances, answers, strict=True):
        instance.resps = said
    built.apply_filters()
    read = [instance.filtered_resps["none"] for instance in built.instances]
    return [(text, built.process_results(one.doc, [text])) for one, text in zip(built.instances, read, strict=True)]


def line(labels: str, predict: str) -> str:
    return json.dumps({"labels": labels, "predict": predict}, ensure_ascii=False)


def test_the_attributes_alone_are_the_prompt_and_the_answer_is_greedy(tmp_path: Path) -> None:
    built = mirrors.task("adgen", written(tmp_path))
    how = {"until": [], "do_sample": False, "max_gen_toks": 256}
    assert mirrors.requests(built) == [(row["content"], how) for row in ROWS]
    assert [built.doc_to_target(doc) for doc in built.eval_docs] == [row["summary"] for row in ROWS]
    assert built.config.repeats == 1


@pytest.mark.parametrize(
    ("name", "prompt"), [("adgen_chatglm", dialogues.chatglm), ("adgen_chatglm2", dialogues.chatglm2)]
)
def test_upstreams_settings_and_prompt(tmp_path: Path, name: str, prompt: Any) -> None:
    built = mirrors.task(name, written(tmp_path))
    made = mirrors.requests(built)
    assert mirrors.kinds(built) == {"chatglm_predict"}
    assert built.config.repeats >= 3
    for row, (text, how) in zip(ROWS, made, strict=True):
        assert text == prompt(row["content"])
        assert how["labels"] == row["summary"]
        assert how["lengths"] == {"source": 64, "target": 62, "total": 129}
        sampled = {key: how[key] for key in ("do_sample", "temperature", "top_p", "top_k", "until")}
        assert sampled == {"do_sample": True, "temperature": 0.95, "top_p": 0.7, "top_k": 50, "until": []}
        assert how["chunk"].texts == tuple(prompt(row["content"]) for row in ROWS)


def test_a_chunk_is_a_thousand_rows_of_the_file_whatever_is_left_out_or_asked(tmp_path: Path) -> None:
    rows = [{"content": f"货号#{i}", "summary": f"第{i}号"} for i in range(1003)]
    rows[0]["content"] = rows[1001]["summary"] = ""
    built = mirrors.task("adgen_chatglm", written(tmp_path, rows))
    whole = mirrors.requests(built)
    assert len(whole) == 1001
    chunks = [how["chunk"] for _, how in whole]
    assert chunks[0].texts == tuple(f"货号#{i}" for i in range(1, 1000))
    assert chunks[-1].texts == ("货号#1000", "货号#1002")
    assert len({id(chunk) for chunk in chunks}) == 2
    built.build_all_requests(limit=2)
    limited = [instance.args for instance in built.instances]
    assert [digest([list(args)]) for args in limited] == [digest([list(args)]) for args in whole[:2]]
    assert digest([list(whole[0])]) != digest([[whole[0][0], {**whole[0][1], "chunk": chunks[-1]}]])


def test_an_answer_is_read_with_what_it_mentions(tmp_path: Path) -> None:
    built = mirrors.task("adgen", written(tmp_path))
    [(read, found), (nothing, none)] = answered(built, ["白色上衣，不对称"], [" \n"])
    assert json.loads(read) == {
        "predict": "白色上衣，不对称",
        "mentioned": ["类型#上衣", "颜色#白色"],
        "missed": ["风格#简约", "衣款式#{{不对称}}"],
    }
    assert found["coverage"] == 1 / 2
    assert found["bleu_zh"] == corpus_bleu.bleu_zh_counts("白色上衣，不对称", COPY)
    assert found["length_ratio_characters"] == (8, len(COPY))
    assert found["empty"] == 0
    assert set(found) == set(built.aggregation()) == set(none)
    assert json.loads(nothing)["predict"] == " \n"
    assert none["empty"] == 1
    assert all(none[name] == 0 for name in ("rouge1_jieba", "rouge2_jieba", "rougeL_jieba", "bleu4_characters"))
    assert none["coverage"] == 0
    distinct = built.aggregation()["distinct2_jieba"]
    assert distinct([found["distinct2_jieba"], none["distinct2_jieba"]]) == 4 / 5  # five words, four pairs


def test_seeds_are_averaged_and_their_deviation_is_beside(tmp_path: Path) -> None:
    built = mirrors.task("adgen_chatglm", written(tmp_path))
    said = [[COPY, "白色的裙子", ""], ["红色的裙子", "好", "飘逸"]]
    cut = [COPY[:10], "红色的裙子"]
    lines = [[line(labels, text) for text in texts] for labels, texts in zip(cut, said, strict=True)]
    scored = answered(built, *lines)
    first, _ = scored[0]
    records = [json.loads(one) for one in first.split("\n")]
    assert [one["predict"] for one in records] == said[0]
    assert [one["labels"] for one in records] == [cut[0]] * 3
    assert records[0]["mentioned"] == ["类型#上衣", "颜色#白色", "风格#简约"]
    values = np.array(
        [[copywriting.upstream(text, labels) for text in texts] for labels, texts in zip(cut, said, strict=True)]
    )
    for i, name in enumerate(("rouge-1", "rouge-2", "rouge-l", "bleu-4")):
        means = [row[f"predict_{name}"] for _, row in scored]
        deviation = built.aggregation()[f"predict_{name}_sd"]([row[f"predict_{name}_sd"] for _, row in scored])
        by_seed = values[:, :, i].mean(0)
        assert np.mean(means) == pytest.approx(by_seed.mean())
        assert deviation == pytest.approx(by_seed.std(ddof=1))
    assert [row["empty"] for _, row in scored] == [1 / 3, 0]
    assert scored[0][1]["coverage"] == pytest.approx((3 / 4 + 1 / 4) / 3)


def test_a_file_of_one_seed_has_upstreams_scores_and_no_deviation(tmp_path: Path) -> None:
    built = mirrors.task("adgen_chatglm2", written(tmp_path))
    scored = answered(built, [line("白色上衣很百搭", "白色上衣")], [line("红裙", "")])
    for (labels, predict), (_, row) in zip((("白色上衣很百搭", "白色上衣"), ("红裙", "")), scored, strict=True):
        found = [row[f"predict_{name}"] for name in ("rouge-1", "rouge-2", "rouge-l", "bleu-4")]
        assert found == list(copywriting.upstream(predict, labels))
        assert not [name for name in row if name.endswith("_sd")]
    assert scored[1][1]["empty"] == 1


def test_an_answer_that_is_no_line_is_told(tmp_path: Path) -> None:
    built = mirrors.task("adgen_chatglm", written(tmp_path))
    with pytest.raises(HarnessError, match="白色上衣"):
        answered(built, ["白色上衣"], [line("甲", "乙")])


def test_the_definition_says_what_sacrebleu_computed(tmp_path: Path) -> None:
    metadata = mirrors.task("adgen", written(tmp_path)).config.metadata
    for metric, stated in metadata["signatures"].items():
        assert corpus_bleu.signature(metric).rpartition("|version:")[0] == stated
    assert set(metadata["signatures"]) == {"bleu_zh", "chrf"}
    assert "tok:zh|smooth:exp" in metadata["protocol"]
    assert "nc:6|nw:0" in metadata["protocol"]


@pytest.mark.data
def test_the_published_split_has_its_documents_and_copy_that_mentions_most(data: Path) -> None:
    docs = list(mirrors.task("adgen", data).eval_docs)
    assert len(docs) == 1070
    shares = [copywriting.mentions(doc["summary"], doc["content"]).share for doc in docs]
    assert round(float(np.mean(shares)), 2) == 0.86
    assert [doc["chunk"] for doc in docs].count(1) == 70


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("adgen")
    # Words of the tiny tokenizer, so that an answer has some of them.
    written(
        folder / "data",
        [*ROWS, *({"content": f"货号#{i}", "summary": "以下是花开了的法律答案项，了的"} for i in range(6))],
    )
    base = tiny.llama(folder / "base", initializer_range=0.1)
    options = Options(tasks=TASKS, output=folder / "runs", data=folder / "data")
    [made] = run([parse(str(base))], options)
    return made


def value(report: Report, task: str, metric: str) -> float:
    return next(one.value for one in report.manifest.scores if (one.task, one.metric) == (task, metric))


def test_a_run_has_sacrebleus_corpus_scores_of_its_answers(report: Report) -> None:
    rows = report.samples("adgen")
    said, wanted = [texts[0] for texts in rows["responses"]], [list(rows["target"])]
    assert wanted[0][:2] == [row["summary"] for row in ROWS]
    assert value(report, "adgen", "bleu_zh") == BLEU(tokenize="zh").corpus_score(said, wanted).score
    assert value(report, "adgen", "chrf") == CHRF().corpus_score(said, wanted).score > 0
    assert [json.loads(text)["predict"] for text in rows["prediction"]] == said
    assert any(said)


@pytest.mark.parametrize("task", TASKS[1:])
def test_a_run_shows_mean_and_deviation_over_seeds_and_upstreams_lines(report: Report, task: str) -> None:
    rows = report.samples(task)
    lines = [[copywriting.read_line(text) for text in texts] for texts in rows["responses"]]
    assert all(len(set(one)) == 3 for one in lines)
    assert all(COPY.startswith(one.labels) for one in lines[0])
    assert len(ROWS[1]["summary"]) > len(lines[1][0].labels) > 0
    scores = np.array([[copywriting.upstream(one.predict, one.labels) for one in some] for some in lines])
    for i, name in enumerate(("rouge-1", "rouge-2", "rouge-l", "bleu-4")):
        by_seed = scores[:, :, i].mean(0)
        assert value(report, task, f"predict_{name}") == pytest.approx(by_seed.mean())
        assert value(report, task, f"predict_{name}_sd") == pytest.approx(by_seed.std(ddof=1))
    for read, some in zip(rows["prediction"], lines, strict=True):
        assert [json.loads(text)["predict"] for text in read.split("\n")] == [one.predict for one in some]
