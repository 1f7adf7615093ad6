"""Runs of several kinds of checkpoints, and what the manifest says about thoughts, chat templates, answer letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
from transformers import AutoModelForCausalLM

from harness.checkpoints import weights
from harness.checkpoints.reference import parse
from harness.engine import engine
from harness.engine.requests import Generation
from harness.errors import HarnessError
from harness.reports import ledger
from harness.reports.report import Report
from harness.runs.estimate import forecast
from harness.runs.options import Options
from harness.runs.sweep import run
from support import invented, tiny

CHAT = (
    "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{{ mood }}"
)
TASK = """task: last_letter
custom_dataset: !function utils.documents
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}\\n答案："
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
target_delimiter: ""
metadata: {version: 1, reads: last_position_logits}
"""
DOCUMENTS = """import datasets


def documents(**_):
    rows = [{"question": "哪一个？", "answer": 1}]
    return {"test": datasets.Dataset.from_list(rows)}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    invented.mirror(folder / "data")
    words = tiny.tokenizer()
    words.chat_template = CHAT
    base = tiny.llama(folder / "base", words, context=1024)
    tiny.lora(folder / "lora", base)
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), peft.PrefixTuningConfig(num_virtual_tokens=8, task_type="CAUSAL_LM")
    )
    model.save_pretrained(folder / "prefix")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "last_letter.yaml").write_text(TASK, encoding="utf-8")
    (folder / "tasks" / "utils.py").write_text(DOCUMENTS, encoding="utf-8")
    return folder


def options(world: Path, output: Path, *tasks: str, **changes: Any) -> Options:
    return Options(tasks=tasks, output=output, data=world / "data", include=(world / "tasks",), **changes)


def evaluate(world: Path, output: Path, model: str, task: str, **changes: Any) -> Report:
    [report] = run([parse(f"{world}/{model}")], options(world, output, task, **changes))
    return report


def test_all_kinds_in_one_command_read_the_base_once(world: Path, tmp_path: Path, monkeypatch: Any) -> None:
    reads, real = [], weights.load
    monkeypatch.setattr(weights, "load", lambda located, bar: reads.append(located.name) or real(located, bar))
    models = ["base", "base,quantize=int4", "lora", "prefix"]
    references = [parse(f"{world}/{model}") for model in models]
    run_options = options(world, tmp_path, "ceval_law", "gsm8k", max_gen_toks=8)
    reports = {r.manifest.checkpoint.name: r for r in run(references, run_options)}
    assert sorted(reads) == ["base", "base+int4"]
    infos = {name: report.manifest.checkpoint for name, report in reports.items()}
    assert {name: (info.kind, info.quantization) for name, info in infos.items()} == {
        "base": ("base", None),
        "base+int4": ("base", "nf4"),
        "lora": ("lora", None),
        "prefix": ("prefix_tuning", None),
    }
    assert (infos["prefix"].virtual_tokens, infos["prefix"].max_length) == (8, 1016)
    assert infos["base+int4"].memory_bytes < infos["base"].memory_bytes < infos["lora"].memory_bytes
    assert len({info.fingerprint for info in infos.values()}) == 4
    for model in models[2:]:  # the same as from a command of its own
        alone = evaluate(world, tmp_path / "alone", model, "ceval_law")
        together = reports[alone.manifest.checkpoint.name].samples("ceval_law")
        assert alone.samples("ceval_law")["logprobs"].map(list).tolist() == together["logprobs"].map(list).tolist()


def generate(monkeypatch: Any, *texts: str) -> None:
    """Replace every generation by one of `texts`."""

    def decode(_: Any, prompts: Any, missing: Any) -> Any:
        for index, prompt in enumerate(prompts):
            if missing[index]:
                text = texts[sum(prompt.ids) % len(texts)]
                yield engine.AnswerBatch([(index, Generation(text, is_cut=False))], 0, 3)

    monkeypatch.setattr(engine.Engine, "decode", decode)


def test_unfinished_thoughts_are_counted_and_noted(world: Path, tmp_path: Path, monkeypatch: Any) -> None:
    generate(monkeypatch, "<think>12 + 5 = 17. The answer is 17.")
    report = evaluate(world, tmp_path, "base", "gsm8k")
    info = report.manifest.tasks["gsm8k"]
    assert (info.thoughts, info.unfinished_thoughts, info.documents) == (6, 6, 6)
    [sentence] = ledger.sentences(report.manifest)
    assert sentence.startswith("gsm8k: of 6 answers, 6 (100.0%) never finished thinking")
    rows = report.samples("gsm8k")
    assert {text for texts in rows["responses"] for text in texts} == {""}
    assert rows["exact_match"].sum() == 0


def test_the_text_after_a_thought_is_scored(world: Path, tmp_path: Path, monkeypatch: Any) -> None:
    generate(monkeypatch, "<think>Is it #### 99? No.</think>\n\n#### 5")
    report = evaluate(world, tmp_path, "base", "gsm8k")
    assert report.manifest.tasks["gsm8k"].unfinished_thoughts == 0
    assert not any("thinking" in sentence for sentence in ledger.sentences(report.manifest))
    assert {text for texts in report.samples("gsm8k")["responses"] for text in texts} == {"#### 5"}


def test_thinking_on_and_off_are_two_checkpoints_with_their_own_prompts(world: Path, tmp_path: Path) -> None:
    chat = options(world, tmp_path, "gsm8k", apply_chat_template=True, chat_template_arguments={"mood": "!"}, limit=2)
    on, off = run([parse(f"{world}/base,enable_thinking={x}") for x in ("true", "false")], chat)
    assert [r.manifest.checkpoint.name for r in (on, off)] == ["base+thinking", "base+no-thinking"]
    assert on.manifest.protocol.chat_template_arguments == {"mood": "!", "enable_thinking": True}
    assert off.samples("gsm8k")["prompt"].iloc[0].endswith("<think></think>!")
    assert not on.samples("gsm8k")["prompt"].iloc[0].endswith("<think></think>!")
    assert on.manifest.tasks["gsm8k"].prompt_hash != off.manifest.tasks["gsm8k"].prompt_hash


@pytest.mark.parametrize(("model", "arguments"), [("base,enable_thinking=true", {}), ("base", {"mood": "!"})])
def test_variables_of_a_template_that_is_not_used_are_refused(world: Path, tmp_path: Path, model: str, arguments: Any):
    with pytest.raises(HarnessError, match="add --apply-chat-template"):
        evaluate(world, tmp_path, model, "gsm8k", chat_template_arguments=arguments)


@pytest.mark.parametrize("name", ["tokenize", "messages", "conversation", "chat_template", "tools", "return_dict"])
def test_settings_of_transformers_are_refused_as_template_variables(world: Path, tmp_path: Path, name: str) -> None:
    """They would silently change the prompt: into a list of ids, or into the text of another template."""
    settings = {"apply_chat_template": True, "chat_template_arguments": {name: True}}
    with pytest.raises(HarnessError, match=f"{name} is a setting of transformers, not a variable of a template"):
        evaluate(world, tmp_path, "base", "gsm8k", **settings)
    assert not (tmp_path / "journal.sqlite").exists()


def test_an_adapter_that_repeats_layers_does_not_change_the_configuration_of_the_base(
    world: Path, tmp_path: Path
) -> None:
    lora = peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], layer_replication=[(0, 2), (1, 2)], init_lora_weights=False
    )
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(world / "base"), lora).save_pretrained(
        tmp_path / "repeats"
    )
    references = [parse(f"{world / 'base'},adapter={tmp_path / 'repeats'}"), parse(str(world / "base"))]
    reports = list(run(references, options(world, tmp_path, "ceval_law", limit=1)))
    assert [report.manifest.checkpoint.kind for report in reports] == ["lora", "base"]


def test_max_gen_toks_replaces_the_limit_of_the_task(world: Path, tmp_path: Path) -> None:
    report = evaluate(world, tmp_path, "base", "gsm8k", max_gen_toks=3)
    assert report.manifest.protocol.max_gen_toks == 3
    assert 0 < report.manifest.tasks["gsm8k"].tokens_generated <= 18
    [cost] = forecast([parse(f"{world}/base")], options(world, tmp_path, "gsm8k", max_gen_toks=5))
    assert cost.total.generated_at_most == 30
    with pytest.raises(HarnessError, match="no room is left for the prompt"):
        evaluate(world, tmp_path, "base", "gsm8k", max_gen_toks=1024)


# --- answer letters


def splitting(folder: Path) -> Path:
    """Write a checkpoint whose tokenizer has no single token for B."""
    from tokenizers import Tokenizer, normalizers

    words = tiny.tokenizer()
    backend = Tokenizer.from_str(words.backend_tokenizer.to_str())
    backend.normalizer = normalizers.Replace("B", "Ｂ")  # full-width, of which this vocabulary has only the bytes
    words._tokenizer = backend
    return tiny.llama(folder, words, context=1024)


def test_a_task_that_reads_one_logit_per_letter_needs_single_token_letters(world: Path, tmp_path: Path):
    assert evaluate(world, tmp_path, "base", "last_letter").manifest.tasks["last_letter"].documents == 1
    broken = splitting(tmp_path / "broken")
    with pytest.raises(HarnessError, match=r"last_letter reads one logit per letter.*not 4 distinct single tokens"):
        list(run([parse(str(broken))], options(world, tmp_path, "last_letter")))
    assert not list(tmp_path.glob("broken_*"))


def test_other_tasks_get_one_note_in_total(world: Path, tmp_path: Path) -> None:
    [report] = run([parse(str(splitting(tmp_path / "broken")))], options(world, tmp_path, "ceval_hard", limit=1))
    [note] = [note for note in report.manifest.notes if "letters" in note]
    assert "and 7 more tasks" in note
    assert "scored over all its tokens" in note
    assert not [n for n in evaluate(world, tmp_path, "base", "ceval_law").manifest.notes if "letters" in n]
