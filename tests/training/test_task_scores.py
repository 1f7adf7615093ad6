"""Scores during a training are those that a run of the same checkpoint gets, and they decide which weights are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.reference import parse
from harness.cli.views.stages import stage_line
from harness.common.progress import SILENT
from harness.errors import HarnessError
from harness.runs import live
from harness.runs.options import Options
from harness.training import lineage
from harness.training.stages import Trained
from support import chatglm, tiny, trained_stages

TASKS = "evaluate: [quiz.jsonl, 'ppl:text.txt'], evaluate_metric: rouge, evaluate_max_gen_toks: 12, eval_steps: 2"
STAGES = {
    "full": "from: base, learning_rate: 3.0e-3",
    "lora": "from: full, method: lora, r: 2, lora_dropout: 0.2, modules_to_save: [lm_head]",
    "prefix": "from: full, method: prefix, num_virtual_tokens: 4, prefix_projection: true, encoder_hidden_size: 8",
    "p-tuned": "from: full, method: p-tuning, num_virtual_tokens: 4, encoder_hidden_size: 8",
    "prompted": "from: full, method: prompt, num_virtual_tokens: 4",
    "further": "from: prompted, method: prompt, eval_on_start: true",
    "continued": "from: prefix, method: prefix, eval_on_start: true",
    "more": "from: lora, method: lora, eval_on_start: true",
}


def texts(settings: str) -> list[str]:
    is_evaluated = "evaluate" in settings
    own = {name: text if is_evaluated else text.replace(", eval_on_start: true", "") for name, text in STAGES.items()}
    return [f"{name}: {{{text}, max_steps: 3, {settings}}}" for name, text in own.items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    tiny.llama(folder / "base", initializer_range=0.05, num_hidden_layers=2)
    (folder / "base/generation_config.json").write_text(json.dumps({"do_sample": True, "repetition_penalty": 1.7}))
    quiz = [{"question": f"问：{number}？", "answer": f"{number}个苹果"} for number in range(3)]
    (folder / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in quiz), encoding="utf-8")
    (folder / "text.txt").write_text("3个苹果和4个梨。", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> dict[str, Trained]:
    return trained_stages.train(place, *texts(TASKS))


def run_scores(place: Path, folder: Path) -> Mapping[str, float]:
    """Return the scores of the checkpoint in `folder`, loaded from its files."""
    tasks = (str(place / "quiz.jsonl"), f"ppl:{place / 'text.txt'}")
    options = Options(tasks, Path("unused"), comparisons=("rouge",), max_gen_toks=12)
    loaded = Loader().load(locate(parse(str(folder))))
    scores = live.scores(loaded, live.load(options), options, SILENT.advance)
    return {f"eval_{key}": score for key, score in scores.items()}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", STAGES)
def test_the_last_scores_are_those_of_a_run_of_the_checkpoint(name, place, trained):
    evaluations = trained[name].lineage.evaluations
    assert [entry["step"] for entry in evaluations][-2:] == [2, 3]
    measured = {key: value for key, value in evaluations[-1].items() if key != "step"}
    expected = run_scores(place, trained[name].folder)
    assert {"eval_quiz.jsonl", "eval_quiz.jsonl/rougeL_jieba", "eval_ppl_text"} <= expected.keys()
    assert measured == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [("prefix", "continued"), ("prompted", "further"), ("lora", "more")])
def test_a_continued_adapter_begins_with_the_scores_with_which_it_ended(first, second, trained):
    before, after = trained[first].lineage.evaluations[-1], trained[second].lineage.evaluations[0]
    assert after == pytest.approx({**before, "step": 0}, abs=1e-6)


def test_a_p_tuning_cannot_be_continued(place, trained):
    with pytest.raises(HarnessError, match=r"stage again: p-tuned: .*so it cannot be continued: train a new one"):
        trained_stages.train(place, f"again: {{from: '{trained['p-tuned'].folder}', method: p-tuning, max_steps: 1}}")


@pytest.mark.parametrize("save", [chatglm.save_6b, chatglm.save], ids=["ChatGLM-6B", "ChatGLM2"])
def test_a_chatglm_is_evaluated_as_it_will_be(save, tmp_path):
    save(tmp_path / "base")
    (tmp_path / "text.txt").write_text("水在一百度沸腾。", encoding="utf-8")
    settings = "num_virtual_tokens: 3, prefix_projection: true, max_steps: 2, evaluate: 'ppl:text.txt', bf16: true"
    stage = trained_stages.train(tmp_path, f"prefix: {{from: base, method: prefix, {settings}}}")["prefix"]
    options = Options((f"ppl:{tmp_path / 'text.txt'}",), Path("unused"))
    scores = live.scores(Loader().load(locate(parse(str(stage.folder)))), live.load(options), options, SILENT.advance)
    measured = stage.lineage.evaluations[-1]["eval_ppl_text"]
    assert measured == pytest.approx(scores[live.MetricKey("ppl_text")], abs=1e-6)


def test_evaluations_by_tasks_change_no_weight(place, trained):
    (place / "plain/base").parent.mkdir()
    (place / "plain/base").symlink_to(place / "base")
    for name, stage in trained_stages.train(place / "plain", *texts("logging_steps: 1")).items():
        (file,) = stage.folder.glob("*.safetensors")
        assert (trained[name].folder / file.name).read_bytes() == file.read_bytes(), name


def test_the_weights_of_the_best_score_are_kept_and_said(place, tmp_path):
    for name in ("base", "text.txt"):
        (tmp_path / name).symlink_to(place / name)
    text = (
        "full: {from: base, max_steps: 4, learning_rate: 0.3, lr_scheduler_type: constant, evaluate: 'ppl:text.txt', "
        "eval_steps: 1, load_best_model_at_end: true, metric_for_best_model: ppl_text}"
    )
    stage = trained_stages.train(tmp_path, text)["full"]
    scores = {entry["step"]: entry["eval_ppl_text"] for entry in stage.lineage.evaluations}
    step = min(scores, key=lambda number: scores[number])  # fewer bits a character are better
    assert step < 4
    assert stage.lineage.best == {"step": step, "metric": "ppl_text", "value": scores[step]}
    options = Options((f"ppl:{tmp_path / 'text.txt'}",), Path("unused"))
    loaded = Loader().load(locate(parse(str(stage.folder))))
    again = live.scores(loaded, live.load(options), options, SILENT.advance)
    assert again[live.MetricKey("ppl_text")] == pytest.approx(scores[step], abs=1e-6)
    assert f", kept step {step} with ppl_text {scores[step]:.4g}" in stage_line(stage)


def test_a_stage_whose_tasks_have_changed_is_another(place, trained, tmp_path):
    for name in ("base", "text.txt", "quiz.jsonl"):
        (tmp_path / name).symlink_to(place / name)
    text = texts(TASKS)[0]
    stage = trained_stages.train(tmp_path, text)["full"]
    assert stage.lineage.key == trained["full"].lineage.key
    record = (stage.folder / lineage.RECORD).read_text(encoding="utf-8")
    assert json.loads(record)["settings"]["evaluate"] == ["quiz.jsonl", "ppl:text.txt"]
    assert str(tmp_path) not in record
    (tmp_path / "text.txt").unlink()
    (tmp_path / "text.txt").write_text("5个苹果。", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"was trained from something else .*\(the content of ppl:text\.txt\)"):
        trained_stages.train(tmp_path, text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("evaluate: quizz", "there is no task 'quizz'"),
        ("evaluate: quiz.jsonl", "has answers in words: say how they are compared, with evaluate_metric:"),
        ("evaluate: quiz.jsonl, evaluate_metric: rogue", "rogue"),
        ("evaluate: quiz.jsonl, evaluate_metric: rouge, evaluate_max_gen_toks: 600", "context has 512"),
        (
            "evaluate: 'ppl:text.txt', evaluate_apply_chat_template: true",
            "has no chat template: leave evaluate_apply_chat_template",
        ),
        (f"{TASKS}, load_best_model_at_end: true", "needs a metric_for_best_model: set it to one of quiz.jsonl"),
        (f"{TASKS}, metric_for_best_model: quiz", r"is 'quiz', which the stage does not measure"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_trained(settings, message, place, tmp_path):
    for name in ("base", "text.txt", "quiz.jsonl"):
        (tmp_path / name).symlink_to(place / name)
    lines: list[str] = []
    with pytest.raises(HarnessError, match=f"stage full: .*{message}"):
        trained_stages.train(tmp_path, f"full: {{from: base, {settings}}}")
    assert lines == []
    assert not list(tmp_path.glob("out/.full.training/checkpoint-*"))
