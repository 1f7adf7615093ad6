"""The weights of a published folder, under the names of the model that computes with them, read when they are needed.

No tensor is read before transformers puts it into the model, so loading takes the memory of the model and of one shard
at most. Every tensor is a copy: a file that changes later changes no answer.

Not here: which names there are (`harness.checkpoints.chatglm.convert`), and P-tuning prefixes
(`harness.checkpoints.chatglm.prefix`).
"""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from harness.checkpoints import files, limits
from harness.checkpoints.chatglm import convert
from harness.checkpoints.chatglm.layout import PREFIX, Layout
from harness.common import places
from harness.errors import HarnessError

_COMPUTED = "inv_freq"
"""The end of the names of buffers that the published files hold and that their code computes again."""
_TABLES_6B = ("transformer.word_embeddings.weight", "lm_head.weight")
_TABLES = ("transformer.embedding.word_embeddings.weight", "transformer.output_layer.weight")
"""Published names of the embeddings and the output layer of ChatGLM2 and 3; `_TABLES_6B` are those of ChatGLM-6B."""


class StoredTensor:
    """Rows of a tensor in a file, as transformers' loader uses a slice of safetensors: `stored[...]` reads it."""

    def __init__(self, shards: Shards, name: str, start: int = 0, stop: int | None = None) -> None:
        self._shards, self._name, self._start, self._stop = shards, name, start, stop

    def __getitem__(self, _: object) -> torch.Tensor:
        return self._shards.rows(self._name, self._start, self._stop)

    def get_dtype(self) -> str:
        """Return the kind of the numbers as safetensors writes it: `F…` for floats, `I…` for codes."""
        return "F" if self._shards.is_floating_point(self._name) else "I"


class Shards:
    """The tensors in the weight files of a folder, by their names there. One file is open at a time."""

    def __init__(self, paths: list[Path]) -> None:
        """Read the names in the files `paths`.

        Raises HarnessError if a file cannot be read, or holds empty tensors or something other than tensors.
        """
        self._open: tuple[Path, Any] | None = None
        self._lock = threading.Lock()  # transformers reads in several threads
        self._files = {name: path for path in paths for name in self._content(path).keys()}  # noqa: SIM118

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Return a copy of the rows from `start` to `stop` of the tensor `name`."""
        with self._lock:
            content = self._content(self._files[name])
            part = content[name] if isinstance(content, dict) else content.get_slice(name)
            tensor: torch.Tensor = part[start:stop] if start or stop is not None else part[...]
            return tensor.clone()  # both formats are mapped into memory

    def length(self, name: str) -> int:
        """Return the number of rows of the tensor `name`; 1 if it is a number."""
        with self._lock:
            content = self._content(self._files[name])
            shape = content[name].shape if isinstance(content, dict) else content.get_slice(name).get_shape()
            return int(shape[0]) if len(shape) else 1

    def is_floating_point(self, name: str) -> bool:
        """Return whether the tensor `name` holds floats."""
        with self._lock:
            content = self._content(self._files[name])
            if isinstance(content, dict):
                return bool(content[name].is_floating_point())
            return str(content.get_slice(name).get_dtype()).startswith(("F", "BF"))

    def _content(self, path: Path) -> Any:
        """Return the content of a file by name; tensors are not read yet if the format allows that."""
        if self._open is None or self._open[0] != path:
            self._open = None  # before the next file is opened, or both would be in memory
            try:
                self._open = (path, _opened(path))
            except HarnessError:
                raise
            except Exception as error:  # safetensors, pickle and zip each raise their own types
                raise HarnessError(
                    f"{path} cannot be read ({files.reason(error)}): fetch or save the checkpoint again"
                ) from error
        return self._open[1]


def _opened(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safe_open(str(path), framework="pt")
    # torch's format before 1.6 is no zip file and is read as a whole.
    content = dict(torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True))
    if not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError("it holds something other than tensors by name")
    if empty := [name for name, tensor in content.items() if not tensor.numel()]:
        raise files.partitioned(path, empty)
    return content


def state(shards: Shards, layout: Layout, *, has_one_table: bool) -> dict[str, StoredTensor]:
    """Return the weights in `shards` under the names of the model of `layout`.

    A tensor that has no place there keeps its name, so that it is reported as surplus. Prefixes are left out, and so
    are buffers that the model computes itself and, if `has_one_table`, the output layer.
    """
    _require_fused_rows(shards, layout)
    _, output = _tables(layout)
    result: dict[str, StoredTensor] = {}
    for name in shards:
        if name.startswith(PREFIX) or name.endswith(_COMPUTED) or (has_one_table and name == output):
            continue
        rows = [convert.Rows(name)] if layout.generation == 1 else list(convert.tensors(name, layout))
        for row in rows or [convert.Rows(name)]:
            result[row.name] = StoredTensor(shards, name, row.start, row.stop)
    return result


def _require_fused_rows(shards: Shards, layout: Layout) -> None:
    """Raise HarnessError if a `query_key_value` of ChatGLM2 or 3 has other rows than its config.json describes."""
    if layout.generation == 1:
        return
    sizes = ("num_attention_heads", "multi_query_group_num", "kv_channels")
    heads, groups, size = (int(layout.settings[name]) for name in sizes)
    expected = convert.fused_rows(heads, groups, size)[-1][1]
    for name in shards:
        if f".{convert.FUSED}." in name and shards.length(name) != expected:
            raise HarnessError(
                f"{name} has {shards.length(name):,} rows, but {heads} heads and {groups} groups of {size} have "
                f"{expected:,}: the config.json there describes another model"
            )


def names_in(folder: Path) -> list[str]:
    """Return the names of the weights in `folder`; [] if it has none. Raises HarnessError if a file cannot be read."""
    if not any(places.is_file(folder / name) for name in files.WEIGHTS):
        return []
    listing = files.weight_listing(folder)
    if listing.suffix == ".json":
        index = files.read_json(listing, limits.JSON_BYTES).get("weight_map")
        return list(index) if isinstance(index, dict) else []
    files.check_complete(listing)
    return list(Shards([listing]))


def shares_embeddings(shards: Shards, layout: Layout) -> bool:
    """Return whether the output layer is the table of embeddings: both hold the same numbers, or it is not stored.

    Where it is not stored, they are one, unless config.json states that they are apart, as in the published code.
    """
    embeddings, output = _tables(layout)
    if output not in shards:
        return bool(layout.settings.get("tie_word_embeddings", True))
    if embeddings not in shards:
        return False
    first, second = shards.rows(embeddings), shards.rows(output)
    return first.shape == second.shape and torch.equal(first, second)


def _tables(layout: Layout) -> tuple[str, str]:
    """Return the published names of the embeddings and the output layer."""
    return _TABLES_6B if layout.generation == 1 else _TABLES
