"""`make bench`: what every kind of checkpoint costs, on one model: bytes on disk, bytes in memory, tokens a second.

The weights are random, since only sizes and speed are told; a dated table goes into reports/. Memory is asserted to
fall with the bits, for it is exact; speed is only shown.
"""

from __future__ import annotations

import gc
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import peft
import pytest
import torch
import transformers

from harness.checkpoints import files, loading
from harness.checkpoints.reference import parse
from harness.engine import scoring
from harness.engine.decoding import plain
from harness.engine.decoding.settings import Settings
from harness.engine.requests import Pair, Prompt
from support import tiny

pytestmark = pytest.mark.bench

REPORTS = Path(__file__).resolve().parents[2] / "reports"
VOCABULARY = 8_000
SIZES = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "vocab_size": VOCABULARY,
    "initializer_range": 0.02,
}
LORA = {"r": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}
VIRTUAL = {"num_virtual_tokens": 128}
ADAPTERS: dict[str, Any] = {
    "LoRA r=8": peft.LoraConfig(task_type="CAUSAL_LM", **LORA),
    "DoRA r=8": peft.LoraConfig(task_type="CAUSAL_LM", use_dora=True, **LORA),
    "prefix 128": peft.PrefixTuningConfig(task_type="CAUSAL_LM", **VIRTUAL),
    "P-tuning 128": peft.PromptEncoderConfig(task_type="CAUSAL_LM", encoder_hidden_size=768, **VIRTUAL),
    "prompt 128": peft.PromptTuningConfig(task_type="CAUSAL_LM", **VIRTUAL),
}
SAVED = ("int8", "int4")
KINDS = {
    "fp32": ("", None),
    "bf16": (",dtype=bfloat16", None),
    "int8": (",quantize=int8", None),
    "int4": (",quantize=int4", None),
    "fp4": (",quantize=fp4", None),
    **{name: ("", name) for name in ADAPTERS},
    "int8 + LoRA r=8": (",quantize=int8", "LoRA r=8"),
    "int4 + LoRA r=8": (",quantize=int4", "LoRA r=8"),
    "int4 + DoRA r=8": (",quantize=int4", "DoRA r=8"),
    "int8 + prefix 128": (",quantize=int8", "prefix 128"),
    "int4 + prefix 128": (",quantize=int4", "prefix 128"),
}
SCORED, PROMPT, GENERATED = 8, 128, 16  # prompts, tokens of each, tokens of an answer


class Cost(NamedTuple):
    """A line of the table."""

    kind: str
    disk: int
    memory: int
    scored: float
    """Prompt tokens a second."""
    generated: float
    """Answer tokens a second, 8 answers side by side."""
    share: float | None


def test_what_every_kind_costs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    words = tiny.tokenizer()
    base = tiny.llama(tmp_path / "base", words, context=1024, **SIZES)
    made = {name: _adapter(tmp_path / f"adapter-{i}", base, how) for i, (name, how) in enumerate(ADAPTERS.items())}
    rows = []
    for kind, (keys, adapter) in KINDS.items():
        folder, share = made[adapter] if adapter else (None, None)
        named = f",adapter={folder}" if folder else ""
        rows.append(cost(kind, f"{base}{named}{keys},device={device}", share))
        print(rows[-1])
        gc.collect()
    for how in SAVED:
        folder = tmp_path / f"saved-{how}"
        words.save_pretrained(folder)
        loading.load(loading.locate(parse(f"{base},quantize={how},device={device}"))).model.save_pretrained(folder)
        rows.append(cost(f"{how}, saved so", f"{folder},device={device}", None))
    memory = {row.kind: row.memory for row in rows}
    assert memory["fp32"] > memory["bf16"] > memory["int8"] > memory["int4"]
    _write(rows, device, sum(p.numel() for p in transformers.AutoModelForCausalLM.from_pretrained(base).parameters()))


def _adapter(folder: Path, base: Path, how: Any) -> tuple[Path, float]:
    """Return the folder of an adapter, and the share of all parameters that training it changes."""
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), how)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    model.save_pretrained(folder)
    trained, every = model.get_nb_trainable_parameters()
    return folder, trained / every


def cost(kind: str, reference: str, share: float | None, vocabulary: int = VOCABULARY) -> Cost:
    checkpoint = loading.load(loading.locate(parse(reference)))
    located = checkpoint.located
    disk = files.weight_files(located.base) + ([files.adapter_weights(located.adapter)] if located.adapter else [])
    chance = random.Random(0)
    pairs = [Pair(chance.choices(range(3, vocabulary), k=PROMPT), [5]) for _ in range(SCORED)]
    batches = scoring.plan(pairs, checkpoint.max_length, 1024)

    def score() -> None:
        for batch in batches:
            list(scoring.score(checkpoint.model, batch, pairs, checkpoint.device, checkpoint.root))

    prompts = [Prompt(pair.context[:32], Settings(max_tokens=GENERATED)) for pair in pairs[:8]]
    end = (checkpoint.tokenizer, prompts, (), checkpoint.max_length, 0, checkpoint.root)
    return Cost(
        kind,
        files.bytes_on_disk(disk),
        checkpoint.memory_bytes,
        SCORED * PROMPT / _seconds(score),
        8 * GENERATED / _seconds(lambda: list(plain.decode(checkpoint.model, *end))),
        share,
    )


def _seconds(work: Any) -> float:
    """Return the best of two, after one to warm up."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _write(rows: list[Cost], device: str, parameters: int) -> None:
    today, fastest = datetime.now(UTC).date().isoformat(), rows[0]
    lines = [
        f"# What every kind of checkpoint costs, {today}",
        "",
        f"`make bench` on {_machine(device)}; torch {torch.__version__}, transformers {transformers.__version__}, "
        f"peft {peft.__version__}. One LLaMA of {parameters:,} random parameters, computing in float32 but for bf16: "
        "sizes are exact, speeds are this machine's.",
        f"Scoring reads {SCORED} prompts of {PROMPT} tokens; decoding writes {GENERATED} tokens for 8 prompts of 32 "
        "side by side. What is quantised as it loads has the base's disk.",
        "",
        "| kind | MB on disk | MB in memory | tokens/s read | of fp32's | tokens/s written | share trained |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = "" if row.share is None else f"{row.share:.3%}"
        speed = f"{row.scored:,.0f} | {row.scored / fastest.scored:.2f} | {row.generated:,.0f}"
        lines.append(f"| {row.kind} | {row.disk / 1e6:,.1f} | {row.memory / 1e6:,.1f} | {speed} | {share} |")
    (REPORTS / f"{today}-checkpoint-kinds-{device}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} of them used"
