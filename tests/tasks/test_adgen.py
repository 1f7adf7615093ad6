"""ADGEN in three protocols: prompts, filtered answers, scores, and runs of a tiny checkpoint."""

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
from support import mirrors, tiny

CONTENT = "类型#上衣*颜色#白色*风格#简约*衣款式#{{不对称}}"
COPY = "这件白色的上衣，很简约大方，走到哪里都好看。"
ROWS = [{"content": CONTENT, "summary": COPY}, {"content": "类型#裙", "summary": "红色的裙子，飘逸又显瘦。" * 9}]
TASKS = ("adgen", "adgen_chatglm", "adgen_chatglm2")


def written(folder: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    mirrors.write(folder, "shibing624/AdvertiseGen", "default", validation=rows)
    return folder


def answered(built: Any, *answers: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return each document's filtered answers and its scores, given the answers to it."""
    built.build_all_requests()
    for instance, responses in zip(built.instances, answers, strict=True):
        instance.resps = responses
    built.apply_filters()
    filtered = [instance.filtered_resps["none"] for instance in built.instances]
    return [
        (text, built.process_results(instance.doc, [text]))
        for instance, text in zip(built.instances, filtered, strict=True)
    ]


def line(labels: str, predict: str) -> str:
    return json.dumps({"labels": labels, "predict": predict}, ensure_ascii=False)


def test_adgens_prompt_is_the_attributes_alone_and_its_answer_is_greedy(tmp_path: Path) -> None:
    built = mirrors.task("adgen", written(tmp_path))
    settings = {"until": [], "do_sample": False, "max_gen_toks": 256}
    assert mirrors.requests(built) == [(row["content"], settings) for row in ROWS]
    assert [built.doc_to_target(doc) for doc in built.eval_docs] == [row["summary"] for row in ROWS]
    assert built.config.repeats == 1


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("adgen_chatglm", "{}"),  # ptuning/main.py of THUDM/ChatGLM-6B@401bf3a without a history
        ("adgen_chatglm2", "[Round 1]\n\n问：{}\n\n答："),  # `build_prompt` of ChatGLM2-6B's tokenizer
    ],
)
def test_settings_and_prompts_are_upstreams(tmp_path: Path, name: str, template: str) -> None:
    built = mirrors.task(name, written(tmp_path))
    requests = mirrors.requests(built)
    prompts = [template.replace("{}", row["content"]) for row in ROWS]
    assert mirrors.kinds(built) == {"chatglm_predict"}
    assert built.config.repeats >= 3
    assert [text for text, _ in requests] == prompts
    for row, (_, settings) in zip(ROWS, requests, strict=True):
        assert settings["labels"] == row["summary"]
        assert settings["lengths"] == {"source": 64, "target": 62, "total": 129}
        sampled = {key: settings[key] for key in ("do_sample", "temperature", "top_p", "top_k", "until")}
        assert sampled == {"do_sample": True, "temperature": 0.95, "top_p": 0.7, "top_k": 50, "until": []}
        assert settings["chunk"].texts == tuple(prompts)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "key"),
    [("adgen_chatglm", "chatglm-tiny", "prompts"), ("adgen_chatglm2", "chatglm2-tiny", "build_prompt")],
)
def test_prompts_equal_those_of_the_published_code(tmp_path: Path, data: Path, name: str, file: str, key: str) -> None:
    golden = json.loads((data / "chatglm-golden" / f"{file}.golden.json").read_text(encoding="utf-8"))["tokenizer"]
    *expected, _ = golden[key]  # the last prompt has a history
    rows = [{"content": text, "summary": "好"} for text in golden["texts"][: len(expected)]]
    requests = mirrors.requests(mirrors.task(name, written(tmp_path, rows)))
    assert [prompt for prompt, _ in requests] == expected


def test_a_chunk_is_a_thousand_rows_of_the_file_whatever_the_limit(tmp_path: Path) -> None:
    rows = [{"content": f"货号#{i}", "summary": f"第{i}号"} for i in range(1003)]
    rows[0]["content"] = rows[1001]["summary"] = ""
    built = mirrors.task("adgen_chatglm", written(tmp_path, rows))
    whole = mirrors.requests(built)
    assert len(whole) == 1001
    chunks = [settings["chunk"] for _, settings in whole]
    assert chunks[0].texts == tuple(f"货号#{i}" for i in range(1, 1000))
    assert chunks[-1].texts == ("货号#1000", "货号#1002")
    assert len({id(chunk) for chunk in chunks}) == 2
    built.build_all_requests(limit=2)
    limited = [instance.args for instance in built.instances]
    assert [digest([list(args)]) for args in limited] == [digest([list(args)]) for args in whole[:2]]
    assert digest([list(whole[0])]) != digest([[whole[0][0], {**whole[0][1], "chunk": chunks[-1]}]])


def test_a_filtered_answer_lists_the_attributes_that_it_mentions(tmp_path: Path) -> None:
    built = mirrors.task("adgen", written(tmp_path))
    [(text, scores), (empty_text, empty_scores)] = answered(built, ["白色上衣，不对称"], [" \n"])
    assert json.loads(text) == {
        "predict": "白色上衣，不对称",
        "mentioned": ["类型#上衣", "颜色#白色"],
        "missed": ["风格#简约", "衣款式#{{不对称}}"],
    }
    assert scores["coverage"] == 1 / 2
    assert scores["bleu_zh"] == corpus_bleu.bleu_zh_counts("白色上衣，不对称", COPY)
    assert scores["length_ratio_characters"] == (8, len(COPY))
    assert scores["empty"] == 0
    assert set(scores) == set(built.aggregation()) == set(empty_scores)
    assert json.loads(empty_text)["predict"] == " \n"
    assert empty_scores["empty"] == 1
    assert all(empty_scores[name] == 0 for name in ("rouge1_jieba", "rouge2_jieba", "rougeL_jieba", "bleu4_characters"))
    assert empty_scores["coverage"] == 0
    distinct = built.aggregation()["distinct2_jieba"]
    assert distinct([scores["distinct2_jieba"], empty_scores["distinct2_jieba"]]) == 4 / 5  # five words, four pairs


def test_scores_have_the_mean_and_the_deviation_over_seeds(tmp_path: Path) -> None:
    built = mirrors.task("adgen_chatglm", written(tmp_path))
    predictions = [[COPY, "白色的裙子", ""], ["红色的裙子", "好", "飘逸"]]
    references = [COPY[:10], "红色的裙子"]
    lines = [[line(labels, text) for text in texts] for labels, texts in zip(references, predictions, strict=True)]
    scored = answered(built, *lines)
    first, _ = scored[0]
    records = [json.loads(text) for text in first.split("\n")]
    assert [record["predict"] for record in records] == predictions[0]
    assert [record["labels"] for record in records] == [references[0]] * 3
    assert records[0]["mentioned"] == ["类型#上衣", "颜色#白色", "风格#简约"]
    values = np.array(
        [
            [copywriting.upstream(text, labels) for text in texts]
            for labels, texts in zip(references, predictions, strict=True)
        ]
    )
    for i, name in enumerate(("rouge-1", "rouge-2", "rouge-l", "bleu-4")):
        means = [row[f"predict_{name}"] for _, row in scored]
        deviation = built.aggregation()[f"predict_{name}_sd"]([row[f"predict_{name}_sd"] for _, row in scored])
        by_seed = values[:, :, i].mean(0)
        assert np.mean(means) == pytest.approx(by_seed.mean())
        assert deviation == pytest.approx(by_seed.std(ddof=1))
    assert [row["empty"] for _, row in scored] == [1 / 3, 0]
    assert scored[0][1]["coverage"] == pytest.approx((3 / 4 + 1 / 4) / 3)


def test_one_answer_has_upstreams_scores_and_no_deviation(tmp_path: Path) -> None:
    built = mirrors.task("adgen_chatglm2", written(tmp_path))
    scored = answered(built, [line("白色上衣很百搭", "白色上衣")], [line("红裙", "")])
    for (labels, predict), (_, row) in zip((("白色上衣很百搭", "白色上衣"), ("红裙", "")), scored, strict=True):
        scores = [row[f"predict_{name}"] for name in ("rouge-1", "rouge-2", "rouge-l", "bleu-4")]
        assert scores == list(copywriting.upstream(predict, labels))
        assert not [name for name in row if name.endswith("_sd")]
    assert scored[1][1]["empty"] == 1


def test_an_answer_that_is_no_line_of_upstreams_file_is_refused(tmp_path: Path) -> None:
    built = mirrors.task("adgen_chatglm", written(tmp_path))
    with pytest.raises(HarnessError, match="白色上衣"):
        answered(built, ["白色上衣"], [line("甲", "乙")])


def test_the_definition_states_sacrebleus_signatures(tmp_path: Path) -> None:
    metadata = mirrors.task("adgen", written(tmp_path)).config.metadata
    for metric, stated in metadata["signatures"].items():
        assert corpus_bleu.signature(metric).rpartition("|version:")[0] == stated
    assert set(metadata["signatures"]) == {"bleu_zh", "chrf"}
    assert "tok:zh|smooth:exp" in metadata["protocol"]
    assert "nc:6|nw:0" in metadata["protocol"]


@pytest.mark.data
def test_the_published_split_has_1070_documents_whose_copy_mentions_most_attributes(data: Path) -> None:
    docs = list(mirrors.task("adgen", data).eval_docs)
    assert len(docs) == 1070
    shares = [copywriting.mentions(doc["summary"], doc["content"]).share for doc in docs]
    assert round(float(np.mean(shares)), 2) == 0.86
    assert [doc["chunk"] for doc in docs].count(1) == 70


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("adgen")
    # The copy has words of the tiny tokenizer, so that answers share some with it.
    written(
        folder / "data",
        [*ROWS, *({"content": f"货号#{i}", "summary": "以下是花开了的法律答案项，了的"} for i in range(6))],
    )
    base = tiny.llama(folder / "base", initializer_range=0.1)
    options = Options(tasks=TASKS, output=folder / "runs", data=folder / "data")
    [result] = run([parse(str(base))], options)
    return result


def value(report: Report, task: str, metric: str) -> float:
    return next(score.value for score in report.manifest.scores if (score.task, score.metric) == (task, metric))


def test_a_runs_corpus_scores_equal_sacrebleus(report: Report) -> None:
    rows = report.samples("adgen")
    predictions, references = [texts[0] for texts in rows["responses"]], [list(rows["target"])]
    assert references[0][:2] == [row["summary"] for row in ROWS]
    assert value(report, "adgen", "bleu_zh") == BLEU(tokenize="zh").corpus_score(predictions, references).score
    assert value(report, "adgen", "chrf") == CHRF().corpus_score(predictions, references).score > 0
    assert [json.loads(text)["predict"] for text in rows["prediction"]] == predictions
    assert any(predictions)


@pytest.mark.parametrize("task", TASKS[1:])
def test_a_run_has_mean_and_deviation_over_seeds_and_upstreams_lines(report: Report, task: str) -> None:
    rows = report.samples(task)
    lines = [[copywriting.read_line(text) for text in texts] for texts in rows["responses"]]
    assert all(len(set(seeds)) == 3 for seeds in lines)
    assert all(COPY.startswith(parsed.labels) for parsed in lines[0])
    assert len(ROWS[1]["summary"]) > len(lines[1][0].labels) > 0
    scores = np.array([[copywriting.upstream(parsed.predict, parsed.labels) for parsed in seeds] for seeds in lines])
    for i, name in enumerate(("rouge-1", "rouge-2", "rouge-l", "bleu-4")):
        by_seed = scores[:, :, i].mean(0)
        assert value(report, task, f"predict_{name}") == pytest.approx(by_seed.mean())
        assert value(report, task, f"predict_{name}_sd") == pytest.approx(by_seed.std(ddof=1))
    for prediction, seeds in zip(rows["prediction"], lines, strict=True):
        texts = [json.loads(text)["predict"] for text in prediction.split("\n")]
        assert texts == [parsed.predict for parsed in seeds]
