"""Every function that reads a text or file from outside, with nearly valid inputs: what the fuzz suite tries.

A reader may return a value or raise the errors it documents. How it is called is stated here once, for `make test` and
`make fuzz`.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from hypothesis import strategies as st

from harness.backends import answer_text, journal_rows, journal_salvage, journal_upkeep
from harness.backends.journal import Journal
from harness.checkpoints import (
    ancestry,
    contents,
    files,
    foreign_code,
    gguf,
    gguf_header,
    identity,
    index_files,
    limits,
    origin,
    reference,
    safetensors_header,
    tokenizer_files,
)
from harness.checkpoints.adapters import config as adapter_config
from harness.checkpoints.adapters import limits as adapter_limits
from harness.checkpoints.chatglm import dialogues, layout, prefix, recognition
from harness.cli import options
from harness.cli.views import samples as sample_views
from harness.common import console, paths, patterns, safe_load, terminal, unpacking, visible
from harness.data import rows, sources, text_files
from harness.data.rows import Notes
from harness.engine.decoding import families, settings, stopping, thinking
from harness.leaderboard import lineage as lineage_of_sites
from harness.recorded import ratings, recordings, references
from harness.recorded.files import file_groups
from harness.reports import baselines, calibration, public_paths, report, sums
from harness.retrieval import articles, corpus
from harness.tasks import index as task_index
from harness.tasks import leaks, same_question
from harness.tasks.own_files import file_tasks, question_files, task_lists, texts
from harness.training import examples, lineage, recipe, states, store
from harness.verdicts import policy
from support import answer_readers, damaged_journals, fuzz_inputs
from support.fuzz_inputs import MARKS, NUMBERS, THOUGHTS, TYPED, damaged, documents

Read = Callable[[Any, Path], object]
"""Reads an input; the folder is empty, for files."""


@dataclass(frozen=True)
class Group:
    """Readers of one kind of input."""

    name: str
    inputs: st.SearchStrategy[Any]
    readers: Mapping[str, Read]
    """How each reader is called, by its name under `harness` and, in brackets, its variant."""
    samples: Sequence[Any]
    """Inputs of which each reader accepts at least one without an error."""
    examples: int = 20
    """Number of inputs that `make test` tries."""


def _of_text(read: Callable[[str], object]) -> Read:
    return lambda text, _: read(text)


def _of_file(name: str, read: Callable[[Path], object]) -> Read:
    """Return a reader that writes its input to the file `name` in the folder, and reads that file."""

    def read_file(content: bytes, folder: Path) -> object:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return read(file)

    return read_file


def _in_folder(name: str, read: Callable[[Path], object]) -> Read:
    """Return a reader of the folder in which its input is the file `name`."""
    return _of_file(name, lambda file: read(file.parent))


# --- texts


_OF_DIGITS = ("lawbench.text.parse_integer",)
"""Functions that get nothing but digits from their callers."""
ANSWERS = Group(
    "answers",
    fuzz_inputs.texts(*NUMBERS, *MARKS),
    {f"metrics.{name}": _of_text(read) for name, read in answer_readers.readers() if name not in _OF_DIGITS},
    ("答案是B。", "", "根据《民法典》第三条，共1,200元。"),
)

_UNTIL = ["\n\n", "答案", "<|end|>"]
_GENERATED: dict[str, Callable[[str], object]] = {
    "engine.decoding.thinking.split": thinking.split,
    "engine.decoding.thinking.thoughts": thinking.thoughts,
    "engine.decoding.thinking.thoughts[opened]": lambda text: thinking.thoughts(text, True),
    "engine.decoding.thinking.leaves_open": thinking.leaves_open,
    "engine.decoding.thinking.Marks.is_spelled_in": lambda text: [m.is_spelled_in(text) for m in thinking.KNOWN],
    "engine.decoding.thinking.Marks.begins": lambda text: [m.begins(text) for m in thinking.KNOWN],
    "engine.decoding.thinking.Marks.end": lambda text: [m.end(text) for m in thinking.KNOWN],
    "engine.decoding.thinking.Marks.is_open": lambda text: [m.is_open(text) for m in thinking.KNOWN],
    "engine.decoding.families.learn": lambda text: families.learn(SimpleNamespace(chat_template=text)),
    "engine.decoding.families.describe": lambda text: families.describe(SimpleNamespace(chat_template=text)),
    "engine.decoding.stopping.find_end": lambda text: stopping.find_end(text, _UNTIL),
    "engine.decoding.stopping.find_stop": lambda text: stopping.find_stop(text, _UNTIL),
    "engine.decoding.stopping.cut": lambda text: stopping.cut(text, _UNTIL),
    "backends.answer_text.read": lambda text: answer_text.read(text, _UNTIL, is_cut=True),
    "backends.answer_text.begins_in_thought": answer_text.begins_in_thought,
}
GENERATED = Group(
    "generated texts",
    fuzz_inputs.texts(*THOUGHTS),
    {name: _of_text(read) for name, read in _GENERATED.items()},
    ("<think>a</think>b", "", "[THINK]"),
    examples=40,
)


def _shown(answer: str) -> str:
    out = console.Console(file=io.StringIO(), width=100)
    sample_views.show_answer(out, "answer", {"prediction": answer, "responses": [answer]})
    return out.file.getvalue()


_ANY_TEXT: dict[str, Callable[[str], object]] = {
    "checkpoints.chatglm.dialogues.message_starts": dialogues.message_starts,
    "common.terminal.lines": terminal.lines,
    "common.terminal.line": terminal.line,
    "common.console.escape": console.escape,
    "common.visible.first_visible": visible.first_visible,
    "common.visible.has_visible": visible.has_visible,
    "data.text_files.without_marks": text_files.without_marks,
    "recorded.references.normalised": references.normalised,
    "recorded.references.text": references.text,
    "recorded.references.key": references.key,
    "recorded.references.is_same": lambda text: references.is_same(references.normalised(text), "1,200 ferries"),
    "reports.public_paths.reduced": public_paths.reduced,
    "reports.public_paths.in_text": public_paths.in_text,
    "reports.public_paths.in_reference": public_paths.in_reference,
    "reports.public_paths.data_set": public_paths.data_set,
    "reports.public_paths.is_local": public_paths.is_local,
    "tasks.same_question.question_form": same_question.question_form,
    "tasks.same_question.text_form": same_question.text_form,
    "tasks.leaks.question": lambda text: leaks.question({"prompt": text}),
    "cli.views.samples.show_answer": lambda text: _shown(text),
    "cli.views.samples.value": lambda text: sample_views.value(json.dumps(text)),
}
ANY_TEXT = Group(
    "printed and compared texts",
    fuzz_inputs.texts(*MARKS, *NUMBERS, *TYPED),
    {name: _of_text(read) for name, read in _ANY_TEXT.items()},
    ("1. 问题：渡船何时靠岸？\nA. 一点", "", "see /home/anybody/base"),
    examples=40,
)

_TYPED_TEXTS: dict[str, Callable[[str], object]] = {
    "checkpoints.reference.parse": lambda text: str(reference.parse(text)),
    "checkpoints.reference.check_marks": lambda text: reference.check_marks(text, "", "think="),
    "checkpoints.reference.check_dtype": lambda text: reference.check_dtype(text, "--dtype"),
    "checkpoints.origin.known_as": origin.known_as,
    "backends.answer_text.marks_of": answer_text.marks_of,
    "cli.options.parse_limit": options.parse_limit,
    "cli.options.split_names": lambda text: options.split_names([text]),
    "common.paths.exists": paths.exists,
    "common.patterns.may_hang": patterns.may_hang,
    "common.paths.is_pattern": paths.is_pattern,
    "common.paths.matching": lambda text: paths.matching(f"nowhere/{text}"),
    "tasks.own_files.task_lists.split": task_lists.split,
    "tasks.own_files.file_tasks.task_name": file_tasks.task_name,
    "tasks.own_files.file_tasks.names_files": file_tasks.names_files,
    "tasks.own_files.file_tasks.matching": lambda text: file_tasks.matching(f"nowhere/{text}"),
    "verdicts.policy.parse_margin": policy.parse_margin,
}
TYPED_TEXTS = Group(
    "typed texts",
    fuzz_inputs.texts(*TYPED),
    {name: _of_text(read) for name, read in _TYPED_TEXTS.items()},
    ("a/b", "<a>,</a>", "float32", "2%", "0.5"),
    examples=40,
)

# --- JSON and YAML

_CONTENT = {"a": [1, {"b": None}, "甲"], "include": "other.yaml", "n": 1.5, "on": True}
PARSED = Group(
    "JSON and YAML",
    documents(_CONTENT, [_CONTENT], "x") | damaged([b"a: &x [1, 2]\nb: *x\nc: 2024-01-01\n", b"- a\n- b: 'c'\n"]),
    {
        "common.safe_load.json_text": lambda content, _: safe_load.json_text(content.decode("utf-8")),
        "common.safe_load.json_file": _of_file("x.json", safe_load.json_file),
        "common.safe_load.yaml_text": lambda content, _: safe_load.yaml_text(content),
        "common.safe_load.yaml_file": _of_file("x.yaml", safe_load.yaml_file),
        "common.safe_load.read_yaml": _of_file("x.yaml", safe_load.read_yaml),
        "common.safe_load.yaml_line": lambda content, _: _lines(content),
        "data.rows.parse_json": lambda content, _: rows.parse_json(content.decode("utf-8")),
        "data.rows.parse_row": lambda content, _: rows.parse_row(content.decode("utf-8")),
        "checkpoints.limits.parse": lambda content, _: limits.parse(content, unique=True),
        "data.text_files.decoded": lambda content, _: text_files.decoded(content, "x"),
        "backends.journal_rows.json_value": lambda content, _: journal_rows.json_value(_row(content)),
    },
    (b'{"a": [1, 2.5, null]}', b"[]"),
    examples=40,
)


def _lines(content: bytes) -> list[int]:
    """Return the line of every value in a YAML text that has been read strictly, as of a recipe, and of others."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), safe_load.yaml_text(content, strict=True))]
    places = [("nowhere",), ("0", "a"), ("",)]
    while pending:
        path, value = pending.pop()
        places.append(path)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        pending += [((*path, str(key)), item) for key, item in items]
    return [safe_load.yaml_line(content, place) for place in places[:50]]


def _row(answer: bytes) -> journal_rows.Row:
    row = journal_rows.new_row(b"key", "x", "f")
    return row._replace(answer=answer)


_GENERATION = {"until": ["\n"], "max_gen_toks": 32, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "do_sample": True}
_CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "eos_token_id": [1, 2],
    "dtype": "float32",
}
_LORA = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "org/base",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
    "bias": "none",
    "init_lora_weights": True,
}
_PREFIX = {
    "peft_type": "PREFIX_TUNING",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "org/base",
    "num_virtual_tokens": 4,
    "num_layers": 2,
    "num_attention_heads": 4,
    "token_dim": 64,
}
_CHATGLM = {
    "model_type": "chatglm",
    "num_layers": 2,
    "padded_vocab_size": 384,
    "hidden_size": 64,
    "kv_channels": 16,
    "num_attention_heads": 4,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "layernorm_epsilon": 1e-5,
    "rope_ratio": 1,
    "pre_seq_len": 8,
    "quantization_bit": 4,
}
_INDEX = {"metadata": {"total_size": 10}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
_TOKENIZER = {
    "added_tokens_decoder": {"0": {"content": "<s>", "special": True}},
    "bos_token": "<s>",
    "model_max_length": 512,
    "chat_template": "{{ messages }}",
    "tokenizer_class": "PreTrainedTokenizerFast",
}


def _of_object(read: Callable[[dict[str, Any]], object]) -> Read:
    """Return a reader of the JSON object that its input holds; of other inputs, nothing is read."""

    def read_object(content: bytes, _: Path) -> object:
        try:
            value = limits.parse(content)
        except ValueError:
            return None
        return read(value) if isinstance(value, dict) else None

    return read_object


def _beside(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a reader of a folder that also holds the weights `name`."""

    def read_folder(folder: Path) -> object:
        (folder / name).write_bytes(_safetensors())
        return read(folder)

    return read_folder


CHECKPOINT_FILES = Group(
    "files of checkpoints",
    documents(_CONFIG, _CHATGLM, _LORA, _PREFIX, _INDEX, _TOKENIZER, _GENERATION),
    {
        "checkpoints.files.read_json": _of_file("config.json", files.read_json),
        "checkpoints.files.weight_files": _in_folder(
            "model.safetensors.index.json", _beside("model-00001-of-00001.safetensors", files.weight_files)
        ),
        "checkpoints.files.weight_listing": _in_folder(
            "config.json", _beside("model.safetensors", files.weight_listing)
        ),
        "checkpoints.files.is_adapter": _in_folder("adapter_config.json", files.is_adapter),
        "checkpoints.adapters.config.read": _in_folder("adapter_config.json", adapter_config.read),
        "checkpoints.identity.configuration": _in_folder("config.json", identity.configuration),
        "checkpoints.contents.config_files": _in_folder("config.json", contents.config_files),
        "checkpoints.contents.tokenizer_files": _in_folder("tokenizer_config.json", contents.tokenizer_files),
        "checkpoints.tokenizer_files.checked": _in_folder(
            "tokenizer_config.json", partial(tokenizer_files.checked, is_trusted=False)
        ),
        "checkpoints.chatglm.layout.read": _of_object(lambda value: layout.read(Path("none"), value)),
        "checkpoints.chatglm.recognition.recognize": _in_folder(
            "tokenizer_config.json", _beside("tokenizer.model", recognition.recognize)
        ),
        "checkpoints.chatglm.prefix.has_prefix": _in_folder("config.json", prefix.has_prefix),
        "checkpoints.chatglm.prefix.is_only_prefix": _in_folder(
            "config.json", _beside("model.safetensors", prefix.is_only_prefix)
        ),
        "checkpoints.origin.origin_of": _in_folder("trainer_state.json", origin.origin_of),
        "checkpoints.origin.origin_of[swift]": _in_folder("args.json", origin.origin_of),
        "checkpoints.limits.check_config": _of_object(partial(limits.check_config, Path("config.json"))),
        "checkpoints.adapters.limits.check": _of_object(
            lambda value: adapter_limits.check(Path("adapter_config.json"), value, None)
        ),
        "checkpoints.foreign_code.check": _of_object(
            partial(foreign_code.check, Path("config.json"), is_trusted=False)
        ),
        "checkpoints.index_files.named_files": _of_object(
            partial(index_files.named_files, Path("model.safetensors.index.json"))
        ),
        "engine.decoding.settings.parse_settings": _of_object(lambda value: settings.parse_settings(value, "</s>")),
    },
    [json.dumps(sample).encode() for sample in (_CONFIG, _CHATGLM, _LORA, _TOKENIZER, _INDEX, _GENERATION, {})],
    examples=40,
)
# --- files of settings and results

_POLICY = {
    "margin": "2",
    "alpha": 0.05,
    "tasks": [{"match": "ceval*", "margin": "1%", "floor": 0.3, "metric": "acc"}],
    "inconclusive": "block",
}
_RECIPE = {
    "seed": 1,
    "corpora": {"ferries": "ferries.jsonl"},
    "stages": {
        "base": {"from": ".", "method": "full", "corpora": {"ferries": 1}, "max_steps": 2, "learning_rate": 0.1}
    },
}
_RECIPE_TEXT = b"""seed: 1
threads: 1
corpora: {a: {file: a.jsonl, template: alpaca, learn: last_answer, system: x}, b: b.txt}
defaults: {per_device_train_batch_size: 4, lr_scheduler_type: cosine, max_length: 64, mix: tokens}
stages:
  s: {from: ., corpora: [a], num_train_epochs: 1, learning_rate: 1e-4, validation: b, packing: true}
  l: {from: s, method: lora, r: 4, target_modules: [q_proj], corpora: {a: 2, b: 1}, max_steps: 3}
  m: {from: l, method: merge}
  p: {from: "base,quantize=int4", method: prefix, num_virtual_tokens: 4, corpora: [a]}
"""
_RECORD = {
    "key": "f" * 64,
    "name": "sft",
    "recipe": "f" * 64,
    "settings": {"method": "lora", "arguments": {"max_steps": 3}, "adapter": {"r": 4}},
    "seed": 0,
    "parent": "base",
    "parent_key": "f" * 64,
    "parent_fingerprint": "f" * 64,
    "base": "../base",
    "base_fingerprint": "f" * 64,
    "corpora": [{"name": "a", "file": "a.jsonl", "share": 1.0, "tokens": 30, "epochs": 1.5, "counts": {"rows": 2}}],
    "validation": [],
    "steps": 3,
    "rows": 12,
    "tokens": 30,
    "parameters": 9,
    "loss": 1.5,
    "curve": [[1, 2.0], [3, 1.5]],
    "evaluations": [{"step": 3, "eval_loss": 1.0}],
    "best": {"step": 3, "metric": "loss", "value": 1.0},
    "seconds": 1.5,
    "resumed_at": 0,
    "versions": {"torch": "2.13.0"},
}
_COUNTS = {"rows": 2, "kept": 2, "tokens": 9, "learned": 4, "longest": 5, "forms": {"none": 2}, "notes": ["x"]}
_CALIBRATION = {
    "format": calibration.FORMAT,
    "harness": "0.1.0",
    "created": "2026-01-01T00:00:00+00:00",
    "checkpoint": "tiny",
    "fingerprint": "f" * 64,
    "device": "cpu",
    "dtype": "float32",
    "limit": None,
    "seed": 1234,
    "again": ["a quarter of the batch"],
    "rates": [{"task": "t", "metric": "acc", "filter": "none", "documents": 8, "repeats": 2, "changed": 1}],
}
_TASK = {"task": "ferries", "dataset_path": "org/ferries", "output_type": "generate_until", "metadata": {"version": 1}}


def _manifest() -> dict[str, Any]:
    from support import invented_reports as invented

    with TemporaryDirectory() as root:
        score = invented.score("ferries", 0.5)
        model, tasks = invented.checkpoint(), {"ferries": invented.task_info("ferries", 100)}
        folder = invented.write_report(Path(root), model, tasks, [score]).folder
        return dict(json.loads((folder / report.MANIFEST).read_text(encoding="utf-8")))


_MANIFEST = _manifest()
_LINEAGE_TEXT = b"sft: cpt\nlora: {parent: sft, corpora: [law, chat]}\n"
_POLICY_TEXT = b"margin: 2\nalpha: 0.05\ntasks:\n  - match: 'ceval*'\n    margin: 1%\n    floor: 30\n"
_TASK_TEXT = b"task: ferries\ninclude: ../x.yaml\ndoc_to_text: !function utils.text\nmetadata:\n  version: 1\n"


def _newest_state(losses: Path) -> object:
    (losses.parent / states.STATE).write_bytes(losses.read_bytes())
    return states.newest(losses.parents[1])


def _counts(file: Path) -> object:
    file.with_suffix("").touch()
    return store.counts_of(file.with_suffix(""))


SETTINGS_FILES = Group(
    "files of settings and results",
    documents(_POLICY, _RECIPE, _CALIBRATION, _MANIFEST, _TASK)
    | damaged([_POLICY_TEXT, _LINEAGE_TEXT, _TASK_TEXT, _RECIPE_TEXT]),
    {
        "verdicts.policy.read": _of_file("policy.yaml", policy.read),
        "leaderboard.lineage.read": _of_file("lineage.yaml", lineage_of_sites.read),
        "training.recipe.load": _of_file("recipe.yaml", recipe.load),
        "reports.calibration.read": _of_file("calibration.json", calibration.read),
        "reports.report.read": _in_folder("manifest.json", report.read),
        "reports.report.find": _in_folder("manifest.json", lambda folder: report.find([folder])),
        "reports.baselines.find": _in_folder("manifest.json", lambda folder: baselines.find(str(folder))),
        "reports.baselines.load_all": _of_file("b/x/manifest.json", lambda file: baselines.load_all(file.parents[1])),
        "tasks.index.read": _in_folder("ferries.yaml", lambda folder: task_index.read([folder])),
        "tasks.index.require_readable": _in_folder("ferries.yaml", task_index.require_readable),
    },
    [
        _POLICY_TEXT,
        _LINEAGE_TEXT,
        *(json.dumps(sample).encode() for sample in (_RECIPE, _CALIBRATION, _MANIFEST, _TASK)),
    ],
    examples=30,
)
TRAINING_FILES = Group(
    "files of trainings",
    documents(_RECORD, _COUNTS, [1.5, 2]) | damaged([json.dumps(_RECORD).encode(), b"[1.5, 0.25]"]),
    {
        "checkpoints.ancestry.record": _in_folder(ancestry.RECORD, ancestry.record),
        "checkpoints.ancestry.trained_on": _in_folder(ancestry.RECORD, ancestry.trained_on),
        "checkpoints.ancestry.recorded_base": _in_folder(ancestry.RECORD, ancestry.recorded_base),
        "checkpoints.origin.origin_of[record]": _in_folder(ancestry.RECORD, origin.origin_of),
        "training.lineage.read": _in_folder(ancestry.RECORD, lineage.read),
        "training.lineage.differences": _of_object(lambda value: lineage.differences(value, {"a": 1, "adapter": {}})),
        "training.states.losses": _in_folder(states.LOSSES, states.losses),
        "training.states.newest": _of_file("checkpoint-1/losses.json", _newest_state),
        "training.store.counts_of": _of_file("x.arrow.json", _counts),
    },
    [json.dumps(sample).encode() for sample in (_RECORD, _COUNTS, [1.5, 2])],
    examples=40,
)
_CONFIGS = b"configs:\n- config_name: a\n  data_files:\n  - split: test\n    path: a/*.parquet\n"
_CARD = b"---\ntags:\n- llama-factory\n" + _CONFIGS + b"---\n# x\n"
CARDS = Group(
    "cards and sums",
    damaged([_CARD, _CARD.replace(b"- split", b"- x: 1\n  - split"), b"a" * 64 + b"  samples/x\n", b"\\" + b"a" * 66]),
    {
        "data.sources.DataSource.is_available": _of_file("org/x/README.md", lambda file: _available(file.parent)),
        "checkpoints.origin.origin_of[card]": _in_folder("README.md", origin.origin_of),
        "reports.sums.differences": _in_folder(sums.SUMS, sums.differences),
        "reports.sums.is_of_report": _in_folder(sums.SUMS, sums.is_of_report),
        "data.text_files.read_text": _of_file("x.txt", text_files.read_text),
    },
    (_CARD, b"a" * 64 + b"  samples/x\n"),
    examples=40,
)


def _available(folder: Path) -> object:
    (folder / "a").mkdir(exist_ok=True)
    (folder / "a" / "test.parquet").touch()
    located = sources.locate({"dataset_path": "org/x", "dataset_name": "a"}, folder.parent.parent)
    return located.is_available, located.remedy


# --- files of rows

_ROWS = (
    {"question": "渡船何时靠岸？", "A": "一点", "B": "两点", "answer": "B"},
    {"question": "how many?", "choices": ["1", "2"], "answer": 1},
    {"id": 3, "instruction": "Answer.", "input": "x", "output": "42"},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "1,200"}]},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"text": "渡船应当靠岸。", "law": "民法典", "number": "三", "query": "q", "gold": ["民法典第三条"]},
    {
        "text": "渡船应当靠岸。",
        "law": "民法典",
        "number": 3,
        "query": "q",
        "laws": ["《民法典》第三条"],
        "response": "第三条",
    },
    {"text": "第一条　渡船应当靠岸。\n第二条　船夫应当摆渡。", "query": "q", "gold": ["第一条"]},
    {"query": "q", "laws": ["民法典第三条"]},
    {"prompt": "a", "completion": "b"},
    {"id": 1, "prediction": "B", "prompt": "q"},
    {"id": "a", "logprobs": [-1.5, -0.25]},
    {"doc_id": 0, "doc": {"q": "a"}, "resps": [[["-1.5", "True"]]], "filter": "none", "arguments": [["a", "b"]]},
    {"labels": "a", "predict": "b"},
    {"1": {"prediction": "A", "refr": "正确答案：A。", "origin_prompt": [{"prompt": "x"}]}},
    {"id": "a", "criterion": "fluent", "rating": 4, "rater": "r", "model": "m"},
)
_TABLES = (
    b'question,A,B,answer\nwhat?,1,2,A\n"a ""b"", c",x,y,B\n',
    b"question;answer\r\nx;1\r\n",
    b"sep=;\nquestion;answer\nx;1\n",
    b"model_output,input\nB,x\n",
    b"text,id\nx,1\n",
    b'question\tanswer\nx\t1\n"y"""\t"2"\n',
)
_LINES = [json.dumps(row, ensure_ascii=False).encode() for row in _ROWS]
_ROW_FILES = documents(*_ROWS, list(_ROWS[:2]), {"data": list(_ROWS[:2])}) | damaged(
    [*_TABLES, *(b"\n".join(line for _ in range(2)) for line in _LINES)]
)


def _variants(name: str, read: Callable[[Path], object], *file_names: str) -> dict[str, Read]:
    return {f"{name}[{file_name}]": _of_file(file_name, read) for file_name in file_names}


def _find_recordings(file: Path) -> object:
    return [(item.name, item.fingerprint) for item in recordings.find(file, task="t", keep_going=True)]


def _first_recordings(file: Path) -> object:
    return [(item.name, item.fingerprint) for item in recordings.find(file, format="lm-eval")]


def _read_examples(file: Path) -> object:
    return list(examples.read(file, Notes()))


def _score_ratings(file: Path) -> object:
    with TemporaryDirectory() as output:
        return len(list(ratings.score(file, Path(output), task=None, name=None, keep_going=True)))


ROW_FILES = Group(
    "files of rows",
    _ROW_FILES,
    {
        **_variants("data.rows.read", lambda file: list(rows.read(file)), "x.jsonl", "x.json", "x.csv", "x.tsv"),
        **_variants("tasks.own_files.question_files.read", question_files.read, "q.jsonl", "q.json", "q.csv", "q.tsv"),
        **_variants(
            "tasks.own_files.question_files.read[words]",
            lambda file: question_files.read(file, ("exact_match", "number", "rouge")),
            "w.jsonl",
        ),
        **_variants("tasks.own_files.texts.read", texts.read, "t.jsonl", "t.txt"),
        **_variants("training.examples.read", _read_examples, "c.jsonl", "c.csv", "c.txt"),
        **_variants("retrieval.corpus.read_corpus", lambda file: corpus.read_corpus([file]), "p.jsonl", "p.csv"),
        **_variants(
            "retrieval.corpus.read_questions",
            lambda file: corpus.read_questions([file], corpus.read_corpus([file])),
            "p.jsonl",
        ),
        **_variants("retrieval.articles.read", articles.read, "a.jsonl"),
        **_variants("recorded.recordings.find", _find_recordings, "r.jsonl", "1-1.json", "single/x_results.csv"),
        **_variants("recorded.recordings.find[first]", _first_recordings, "samples_t_2024-01-01T00-00-00.0.jsonl"),
        **_variants("recorded.ratings.score", _score_ratings, "ratings.jsonl"),
    },
    [*_LINES, *_TABLES],
    examples=40,
)

# --- binary files


def _gguf_text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _gguf() -> bytes:
    """Return a GGUF file with settings of several types and one tensor."""
    settings = (
        _gguf_text("general.architecture") + struct.pack("<I", 8) + _gguf_text("llama"),
        _gguf_text("general.alignment") + struct.pack("<II", 4, 32),
        _gguf_text("llama.block_count") + struct.pack("<II", 4, 2),
        _gguf_text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + _gguf_text("a") + _gguf_text("b"),
        _gguf_text("tokenizer.ggml.scores") + struct.pack("<IIQff", 9, 6, 2, 0.0, 1.0),
    )
    tensor = _gguf_text("output.weight") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(settings)) + b"".join(settings) + tensor
    return head + bytes(-len(head) % 32) + bytes(32)


def _safetensors() -> bytes:
    entries = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {"format": "pt"}}
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + bytes(16)


def _tar(name: str = "model/1-1.json") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        content = _LINES[12]
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _torch() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({"v_head.summary.weight": torch.zeros(1)}, buffer)
    return buffer.getvalue()


def _journal() -> bytes:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        journal.put(damaged_journals.answers(Random(0), 12), "fingerprint")
        journal.close()
        return (Path(folder) / "journal.sqlite").read_bytes()


def _open_journal(file: Path) -> object:
    for left in file.parent.glob(f"{file.name}?*"):  # files set aside by an earlier input
        left.unlink()
    journal = Journal(file)
    try:
        return journal.get([Journal.key("f", [number]) for number in range(12)]), journal.notes
    finally:
        journal.close()


def _adapter_beside(folder: Path) -> object:
    (folder / "adapter_config.json").write_text("{}")
    return files.is_adapter(folder)


def _groups(path: Path) -> object:
    return [(group.model, [file.content() for file in group.files]) for group in file_groups(path)]


_TABLE = pa.table({"text": ["渡船", None], "n": [1.0, float("nan")], "l": [[1], []]})
_ARCHIVES = (_tar(), gzip.compress(_tar("../x.json"), mtime=0))
_BINARIES = (_gguf(), _safetensors(), *_ARCHIVES, _parquet(_TABLE), _torch())
BINARY_FILES = Group(
    "binary files",
    damaged(_BINARIES),
    {
        "checkpoints.gguf_header.read": _of_file("x.gguf", gguf_header.read),
        "checkpoints.gguf.stored_dtype": _of_file("x.gguf", gguf.stored_dtype),
        "checkpoints.gguf.quantization_name": _of_file("x.gguf", gguf.quantization_name),
        "checkpoints.safetensors_header.read": _of_file("x.safetensors", safetensors_header.read),
        "checkpoints.files.check_complete": _of_file("x.safetensors", files.check_complete),
        "checkpoints.files.check_complete[torch]": _of_file("x.bin", files.check_complete),
        "checkpoints.files.check_no_pointer": _of_file("x.bin", files.check_no_pointer),
        "checkpoints.files.pickled_classes": _of_file("x.bin", files.pickled_classes),
        "checkpoints.files.is_adapter[value head]": _in_folder("pytorch_model.bin", _adapter_beside),
        "recorded.files.file_groups": _of_file("x.tar", _groups),
        "recorded.files.file_groups[gz]": _of_file("x.tar.gz", _groups),
        "common.unpacking.tar_members": _of_file("x.tar", lambda file: list(unpacking.tar_members(file, (".json",)))),
        "common.unpacking.check_parquet": _of_file("x.parquet", unpacking.check_parquet),
        "data.rows.read_parquet": _of_file("x.parquet", rows.read_parquet),
        "data.rows.read[x.parquet]": _of_file("x.parquet", lambda file: list(rows.read(file))),
        "tasks.own_files.texts.read[x.parquet]": _of_file("x.parquet", texts.read),
    },
    _BINARIES,
    examples=40,
)
_JOURNAL = _journal()
JOURNALS = Group(
    "journals",
    damaged([_JOURNAL]),
    {
        "backends.journal.Journal.get": _of_file("journal.sqlite", _open_journal),
        "backends.journal_upkeep.stats": _of_file("journal.sqlite", journal_upkeep.stats),
        "backends.journal_upkeep.check": _of_file("journal.sqlite", journal_upkeep.check),
        "backends.journal_salvage.rows": _of_file("j.sqlite", lambda file: list(journal_salvage.rows(file, b""))),
        "backends.journal_salvage.rows_of_log": lambda content, _: list(journal_salvage.rows_of_log(content)),
        "backends.journal_salvage.is_log_sound": lambda content, _: journal_salvage.is_log_sound(content),
    },
    (_JOURNAL,),
    examples=15,
)

GROUPS = {
    group.name: group
    for group in (
        ANSWERS,
        GENERATED,
        ANY_TEXT,
        TYPED_TEXTS,
        PARSED,
        CHECKPOINT_FILES,
        SETTINGS_FILES,
        TRAINING_FILES,
        CARDS,
        ROW_FILES,
        BINARY_FILES,
        JOURNALS,
    )
}

ERRORS: dict[str, tuple[type[Exception], ...]] = {
    "checkpoints.limits.parse": (ValueError,),
    "cli.options.parse_limit": (typer.BadParameter,),
    "common.safe_load.json_file": (ValueError,),
    "common.safe_load.json_text": (ValueError,),
    "common.safe_load.yaml_file": (safe_load.ContentError,),
    "common.safe_load.read_yaml": (safe_load.ContentError,),
    "common.safe_load.yaml_line": (safe_load.ContentError,),
    "common.safe_load.yaml_text": (safe_load.ContentError,),
    "training.states.losses": (ValueError,),
    "common.unpacking.check_parquet": (unpacking.UnsafeArchiveError, pa.ArrowException, OSError),
    "common.unpacking.tar_members": (unpacking.UnsafeArchiveError, *unpacking.DAMAGE),
    "data.rows.parse_json": (ValueError,),
    "data.rows.parse_row": (ValueError,),
    "verdicts.policy.parse_margin": (ValueError,),
}
"""What a reader may raise beside HarnessError, as it documents."""
