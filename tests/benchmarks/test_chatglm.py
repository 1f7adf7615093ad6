"""`make bench`: what ChatGLM's two ways of reading, and its own 4 bits, cost; a dated table goes into reports/.

ChatGLM-6B reads a context both ways, so that two prompts share no tokens; ChatGLM2 shares the examples of a task. Both
have random weights of equal number and the tokenizers of the small published layouts among the data.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers

from harness.checkpoints import loading
from harness.checkpoints.chatglm import convert, layout
from harness.checkpoints.chatglm.model import ChatGLMForConditionalGeneration
from harness.checkpoints.reference import parse
from harness.cli import main
from test_kinds_cost import REPORTS, Cost, _machine, cost

pytestmark = [pytest.mark.bench, pytest.mark.data]
DOCUMENTS, CONTEXT = 12, 4096
SHARED = {"num_layers": 8, "hidden_size": 512, "num_attention_heads": 8}
FIRST = {"vocab_size": 2512, "inner_hidden_size": 2048, "max_sequence_length": CONTEXT, **SHARED}
SECOND = {"padded_vocab_size": 2560, "ffn_hidden_size": 1620, "kv_channels": 64, "seq_length": CONTEXT, **SHARED}
WIDE = {**SECOND, "hidden_size": 2048, "num_attention_heads": 16, "kv_channels": 128, "ffn_hidden_size": 5504}
KINDS = {
    "float32": ",dtype=float32",
    "bfloat16": ",dtype=bfloat16",
    "chatglm-int8": ",dtype=bfloat16,quantize=chatglm-int8",
    "chatglm-int4": ",dtype=bfloat16,quantize=chatglm-int4",
    "int8": ",dtype=bfloat16,quantize=int8",
    "int4": ",dtype=bfloat16,quantize=int4",
}


class Reading(NamedTuple):
    """What C-Eval with 5 shots cost one generation."""

    name: str
    parameters: int
    tokens: int
    seconds: float


def save(folder: Path, data: Path, source: str, **settings: Any) -> Path:
    """Write a random model with the config.json of the small model `source`, changed by `settings`."""
    original = data / "chatglm-golden" / source
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("*.bin*"))
    content = {**json.loads((original / "config.json").read_text()), **settings}
    (folder / "config.json").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(content))
    published = layout.read(folder, content)
    config = convert.config(published)
    torch.manual_seed(0)
    kind = ChatGLMForConditionalGeneration if published.generation == 1 else transformers.GlmForCausalLM
    state = kind(config).state_dict()
    torch.save(state if published.generation == 1 else _published(state, published), folder / "pytorch_model.bin")
    return folder


def _published(state: dict[str, torch.Tensor], published: layout.Layout) -> dict[str, torch.Tensor]:
    """Return the weights `state` of a GLM under the published names."""
    layers = range(published.settings["num_layers"])
    parts = ("self_attention.query_key_value.weight", "self_attention.query_key_value.bias")
    parts += ("self_attention.dense.weight", "mlp.dense_h_to_4h.weight", "mlp.dense_4h_to_h.weight")
    parts += ("input_layernorm.weight", "post_attention_layernorm.weight")
    names = [f"transformer.encoder.layers.{i}.{part}" for i in layers for part in parts]
    names += ["transformer.embedding.word_embeddings.weight", "transformer.encoder.final_layernorm.weight"]
    names += ["transformer.output_layer.weight"]
    return {name: torch.cat([state[row.name] for row in convert.tensors(name, published)]) for name in names}


def read_ceval(name: str, folder: Path, data: Path, output: Path) -> Reading:
    options = ["--tasks", "ceval_logic", "--num-fewshot", "5", "--limit", str(DOCUMENTS), "--data", str(data)]
    assert main(["run", "--model", f"{folder},name={name}", *options, "-o", str(output)]) == 0
    (manifest,) = output.glob(f"{name}_*/manifest.json")
    work = json.loads(manifest.read_text())["engine"]
    parameters = loading.load(loading.locate(parse(str(folder)))).parameters
    return Reading(name, parameters, work["tokens_fed"], work["scoring_seconds"])


def test_what_both_ways_of_reading_and_4_bits_cost(tmp_path: Path, data: Path) -> None:
    first = save(tmp_path / "first", data, "chatglm-tiny", **FIRST)
    second = save(tmp_path / "second", data, "chatglm2-tiny", **SECOND)
    readings = [
        read_ceval("ChatGLM2", second, data, tmp_path / "runs"),
        read_ceval("ChatGLM-6B", first, data, tmp_path / "runs"),
    ]
    wide = save(tmp_path / "wide", data, "chatglm2-tiny", **WIDE)
    rows = [cost(kind, f"{wide}{keys},device=cpu", None, 2400) for kind, keys in KINDS.items()]
    memory = {row.kind: row.memory for row in rows}
    assert memory["bfloat16"] > memory["chatglm-int8"] > memory["chatglm-int4"]
    assert readings[0].tokens < readings[1].tokens
    _write(readings, rows)


def _write(readings: list[Reading], rows: list[Cost]) -> None:
    today = datetime.now(UTC).date().isoformat()
    lines = [
        f"# What ChatGLM's ways cost, {today}",
        "",
        f"`pytest -m bench tests/benchmarks/test_chatglm.py` on {_machine('cpu')}; torch {torch.__version__}, "
        f"transformers {transformers.__version__}. Random weights: token counts and sizes are exact, times "
        "hold for that machine.",
        "",
        f"C-Eval logic, 5 shots, the first {DOCUMENTS} questions, log-likelihoods of four letters, float32. ChatGLM2 "
        "shares the examples. ChatGLM-6B reads a context both ways: it shares nothing with other contexts, and is read "
        "once for its four letters.",
        "",
        "| model | parameters | tokens fed | seconds |",
        "|---|---|---|---|",
        *(f"| {row.name} | {row.parameters:,} | {row.tokens:,} | {row.seconds:.1f} |" for row in readings),
        "",
        "A ChatGLM2 of 8 layers and a width of 2,048. Scoring reads 8 prompts of 128 tokens; decoding writes 16 tokens "
        "for 8 prompts of 32 tokens side by side.",
        "",
        "| kind | MB in memory | tokens/s read | tokens/s written |",
        "|---|---|---|---|",
        *(f"| {row.kind} | {row.memory / 1e6:,.1f} | {row.scored:,.0f} | {row.generated:,.0f} |" for row in rows),
    ]
    (REPORTS / f"{today}-chatglm-cpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
