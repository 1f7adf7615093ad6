"""Two processes train as one does with a batch of twice the size; only the first writes and prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.training import batches, lineage, processes, recipe, stages
from support import small_trainings as small
from support import tiny

RECIPE = """
seed: 5
threads: 1
corpora: {talk: talk.jsonl, check: check.jsonl}
defaults:
  {per_device_train_batch_size: SIZE, learning_rate: 1.0e-2, max_length: 64, validation: check, eval_steps: 2,
   per_device_eval_batch_size: 2, logging_steps: 1, save_steps: 2, evaluate: "ppl:text.txt"}
stages:
  full: {from: base, corpora: [talk], num_train_epochs: 1, gradient_accumulation_steps: 2}
  lora: {from: full, method: lora, r: 2, corpora: [talk], max_steps: 2}
"""


def written(folder: Path, size: int) -> Path:
    """Write a recipe whose batches have `size` rows; the 11 rows of its corpus fill no whole number of them."""
    folder.mkdir()
    tiny.llama(folder / "base", initializer_range=0.05, num_hidden_layers=1)
    for name, numbers in (("talk", range(11)), ("check", range(40, 45))):
        texts = [{"prompt": f"{n} + 3 = ", "completion": f"{n + 3} {'.' * (n % 5)}"} for n in numbers]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    (folder / "text.txt").write_text("12 + 3 = 15", encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE.replace("SIZE", str(size)), encoding="utf-8")
    return folder / "recipe.yaml"


def test_two_processes_learn_what_one_does_with_the_doubled_batch(tmp_path):
    file = written(tmp_path / "two", 2)
    script = "import sys; sys.argv[0] = 'harness'; from harness.cli import main; sys.exit(main())"
    (tmp_path / "command.py").write_text(script, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run(
        [*launcher, str(tmp_path / "command.py"), "train", str(file), "-o", str(tmp_path / "two/out")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["full", "lora"]
    assert ended.stderr.count("full: 2 steps of 8 rows") == 1
    assert ended.stderr.count("step 1 of 2, loss ") == 2  # once a stage
    single = {s.name: s for s in stages.train(recipe.load(written(tmp_path / "one", 4)), tmp_path / "one/out")}
    for name, file in (("full", "model.safetensors"), ("lora", "adapter_model.safetensors")):
        expected, record = single[name], lineage.read(tmp_path / "two/out" / name)
        assert record.steps == expected.lineage.steps
        assert [loss for _, loss in record.curve] == pytest.approx(
            [loss for _, loss in expected.lineage.curve], abs=1e-5
        )
        for measured, right in zip(record.evaluations, expected.lineage.evaluations, strict=True):
            assert measured == pytest.approx(right, abs=1e-4)
        together, alone = (load_file(folder / file) for folder in (tmp_path / "two/out" / name, expected.folder))
        assert together.keys() == alone.keys()
        for key, tensor in alone.items():
            torch.testing.assert_close(together[key], tensor, atol=2e-3, rtol=0)
    assert sorted(path.name for path in (tmp_path / "two/out").iterdir()) == [".encoded", "full", "lora"]
    files = [sorted(path.name for path in (tmp_path / number / "out/full").iterdir()) for number in ("one", "two")]
    assert files[0] == files[1]


def test_the_last_batches_are_filled_with_rows_of_which_nothing_is_learned(tmp_path):
    rows = small.rows(tmp_path / "rows.arrow", capacity=20)
    filled = batches.Filled(rows, 3, 4)
    assert len(rows) < len(filled) == 12
    for number in range(len(rows)):
        assert all((filled[number][key] == values).all() for key, values in rows[number].items())
    for number in range(len(rows), 12):
        assert filled[number].keys() == rows[0].keys()
        assert (filled[number]["labels"] == batches.IGNORED).all()
    assert len(batches.Filled(rows, 3, 1)) == len(rows)


@pytest.mark.parametrize(
    ("variables", "count", "is_first"),
    [
        ({}, 1, True),
        ({"WORLD_SIZE": "4"}, 1, True),  # of machines, as some clusters state it; nothing has launched processes
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, 4, False),
        ({"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0"}, 4, True),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, 1, True),
    ],
)
def test_processes_count_when_a_launcher_started_them(variables, count, is_first, monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (processes.count(), processes.is_first()) == (count, is_first)
