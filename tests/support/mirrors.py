"""Small mirrors of data sets, and the requests of tasks on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.tasks.catalogue import Catalogue


def write(mirror: Path, dataset: str, config: str, **splits: list[dict[str, Any]]) -> None:
    """Write `splits` of rows as the configuration `config` of `dataset`, with the hub's layout; others stay."""
    folder = mirror / dataset
    for split, rows in splits.items():
        file = folder / config / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), file)
    card = ["---", "configs:"]
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        card += [f"- config_name: {place.name}", "  data_files:"]
        for file in sorted(place.glob("*.parquet")):
            card += [f"  - split: {file.name.split('-')[0]}", f"    path: {place.name}/{file.name}"]
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))


def task(name: str, mirror: Path, **options: Any) -> Any:
    """Return lm-eval's object of the task `name` on the data of `mirror`."""
    return tasks([name], mirror, **options)[name]


def tasks(names: Sequence[str], mirror: Path, **options: Any) -> dict[str, Any]:
    """Return lm-eval's objects of the tasks that `names` (tasks, groups) stand for on the data of `mirror`, by name."""
    return {name: task.lm_eval for name, task in Catalogue().load(names, mirror, **options).tasks.items()}


def requests(built: Any) -> list[tuple[Any, ...]]:
    """Build the requests of lm-eval's task object `built` and return the arguments of each."""
    built.build_all_requests()
    return [instance.args for instance in built.instances]


def kinds(built: Any) -> set[str]:
    """Return the types of the requests that were built last."""
    return {instance.request_type for instance in built.instances}
