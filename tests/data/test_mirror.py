"""A mirror's data set is read as by `load_dataset`, and always from the files as they are now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data import mirror
from support import mirrors

ROWS: list[dict[str, Any]] = [{"text": f"文 {i}", "label": i % 2, "parts": [{"a": i, "b": None}]} for i in range(5)]


def loaded(folder: Path, config: str | None, cache: Path) -> Any:
    return datasets.load_dataset(str(folder), config, cache_dir=str(cache))


def require_equal(ours: Any, theirs: Any) -> None:
    assert list(ours) == list(theirs)
    for split, rows in theirs.items():
        assert ours[split].features == rows.features
        assert ours[split].split == rows.split
        assert ours[split].data.table.schema.remove_metadata() == rows.data.table.schema.remove_metadata()
        assert ours[split].data.table.combine_chunks().equals(rows.data.table.combine_chunks())
        assert ours[split][0] == rows[0]


@pytest.mark.data
@pytest.mark.parametrize(
    ("dataset", "config"),
    [
        ("ceval/ceval-exam", "law"),
        ("cais/mmlu", "anatomy"),
        ("haonan-li/cmmlu", "agronomy"),
        ("openai/gsm8k", "main"),
        ("clue/clue", "cmnli"),
        ("clue/clue", "c3"),
        ("dataset-org/c3", "mixed"),
        ("baber/piqa", None),
        ("eriktks/conll2003", None),
    ],
)
def test_real_data_sets_are_read_as_by_load_dataset(
    data: Path, tmp_path: Path, dataset: str, config: str | None
) -> None:
    ours = mirror.read(data / dataset, config)
    assert ours is not None
    require_equal(ours, loaded(data / dataset, config, tmp_path))


def write_card(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(f"---\n{text}\n---\n# words\n", encoding="utf-8")


def write(folder: Path, *names: str, rows: list[dict[str, Any]] = ROWS) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / name, row_group_size=2)


GLOB = "configs:\n- config_name: one\n  data_files:\n  - {split: train, path: 'd/train-*'}\n"
LABELLED = f"""{GLOB}dataset_info:
- config_name: one
  features:
  - {{name: text, dtype: string}}
  - name: label
    dtype:
      class_label:
        names: {{'0': 甲, '1': 乙}}
  - name: parts
    list:
    - {{name: a, dtype: int64}}
    - {{name: b, dtype: string}}
  splits:
  - {{name: train, num_examples: 10, num_bytes: 1}}
"""


@pytest.mark.parametrize(
    "text",
    [
        GLOB,
        LABELLED,
        "configs:\n- {config_name: one, data_files: 'd/*.parquet'}",
        "configs:\n- {config_name: one, default: true, data_files: ['d/train-0.parquet', 'd/train-1.parquet']}",
    ],
)
def test_several_files_globs_and_stated_features(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "set"
    write(folder, "d/train-0.parquet", "d/train-1.parquet")
    write_card(folder, text)
    for config in ("one", None):
        ours = mirror.read(folder, config)
        assert ours is not None
        require_equal(ours, loaded(folder, config, tmp_path / "cache"))
    assert len(ours["train"]) == 10


@pytest.mark.parametrize(
    ("text", "config"),
    [
        (GLOB, "two"),
        (GLOB.replace("train-*", "gone-*"), "one"),
        (GLOB.replace("d/train-*", "hf://datasets/x/y/z.parquet"), "one"),
        (GLOB.replace("train-*", "*"), "one"),  # there is a JSON file, too
        (LABELLED.replace("10", "11"), "one"),
        (f"{GLOB}  columns: [text]\n", "one"),
        (GLOB + GLOB.removeprefix("configs:\n").replace("one", "two"), None),
        ("configs: [", "one"),
        ("licence: none", "one"),
        ("configs:\n- config_name: one\n  data_files:\n  - {split: train, path: 'd/damaged.parquet'}\n", "one"),
        ("configs:\n- config_name: one\n  data_files:\n  - {split: train, path: 'd/empty.parquet'}\n", "one"),
    ],
)
def test_unsupported_or_damaged_data_are_left_to_load_dataset(tmp_path: Path, text: str, config: str | None) -> None:
    write(tmp_path, "d/train-0.parquet", "d/train-1.parquet", "d/damaged.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS).slice(0, 0), tmp_path / "d/empty.parquet")
    (tmp_path / "d/damaged.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "d/more.json").write_text('{"text": "x"}')
    write_card(tmp_path, text)
    assert mirror.read(tmp_path, config) is None


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_other_formats_are_left_to_load_dataset(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"test.{ending}").write_text("text\nx\n" if ending == "csv" else '{"text": "x"}\n')
    write_card(tmp_path, f"configs:\n- config_name: one\n  data_files:\n  - {{split: test, path: test.{ending}}}\n")
    assert mirror.read(tmp_path, "one") is None


def test_large_files_are_left_to_load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "d/train-0.parquet")
    write_card(tmp_path, GLOB)
    assert mirror.read(tmp_path, "one") is not None
    monkeypatch.setattr(mirror, "LARGEST", 100)
    assert mirror.read(tmp_path, "one") is None


def test_replaced_files_and_cards_are_read_again(tmp_path: Path) -> None:
    mirrors.write(tmp_path, "a/b", "one", test=ROWS)
    folder, file = tmp_path / "a/b", tmp_path / "a/b/one/test-00000-of-00001.parquet"
    before, stat = mirror.read(folder, "one"), file.stat()
    write(folder, "one/test-00000-of-00001.parquet", rows=[{**ROWS[0], "text": "新"}])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = mirror.read(folder, "one")
    assert [row["text"] for row in after["test"]] == ["新"]
    assert after["test"]._fingerprint != before["test"]._fingerprint
    mirrors.write(tmp_path, "a/b", "one", dev=ROWS)
    assert set(mirror.read(folder, "one")) == {"dev", "test"}
