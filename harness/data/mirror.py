"""The splits of a data set in a mirror, read from its parquet files as `datasets.load_dataset` would give them.

`load_dataset` spends 60 ms on a configuration however small: it parses the card of all configurations, pickles that to
name a cache, and writes Arrow files into it. That is seconds for 57 subjects. Here the card is parsed once, and the
files it names are read, a millisecond each. Rows, features and names of splits are the same.

Whatever is not plain (other formats, builder settings, files too large to be held) is left to `load_dataset`, and so
is whatever it would refuse, since what it says of that is what a person is told. Nothing is kept between two calls but
the parsed card, by its file's stamp: files that are replaced are read anew.

Not here: data sets of the hub, or which task reads what (`harness.tasks.factory`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LARGEST = 32 * 2**20
"""Bytes of parquet a configuration may have: more is better mapped from Arrow files on disk than held."""
_PLAIN = {"data_files", "default"}
_ELSEWHERE = (".huggingface.yaml", "dataset_infos.json")
"""Files beside the card that would say more of a data set."""


class _Card(NamedTuple):
    """What a data set's card says of its configurations."""

    configs: dict[str, dict[str, Any]]
    default: str | None
    infos: dict[str, Any]


def read(folder: Path, config: str | None) -> Any | None:
    """Return the splits of configuration `config` (None: the card's default one) of the data set in `folder`.

    That is a `datasets.DatasetDict`, or None where `load_dataset` has to be asked.
    """
    try:
        return _read(folder.resolve(), config)
    except Exception:  # whatever is wrong with the card or the files, `load_dataset` says it
        return None


def _read(folder: Path, config: str | None) -> Any | None:
    import datasets
    from datasets.utils.info_utils import verify_splits

    card = _card(folder)
    name = config or card.default
    how = card.configs.get(name) if name is not None else None
    if how is None or name is None or not how.keys() <= _PLAIN or any((folder / file).exists() for file in _ELSEWHERE):
        return None
    files = _files(folder, how["data_files"])
    if not _plain(file for listed in files.values() for file in listed):
        return None
    info = card.infos.get(name, datasets.DatasetInfo())
    features = info.features or _features(next(iter(files.values()))[0])
    schema = features.arrow_schema  # made anew at each look
    splits = datasets.DatasetDict({split: _split(split, listed, features, schema) for split, listed in files.items()})
    if not all(map(len, splits.values())):
        return None
    verify_splits(info.splits, {split: datasets.SplitInfo(split, 0, len(rows)) for split, rows in splits.items()})
    return splits


def _card(folder: Path) -> _Card:
    file = folder / "README.md"
    stat = file.stat()
    return _parsed(file, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))


@functools.lru_cache(maxsize=16)
def _parsed(file: Path, stamp: tuple[int, ...]) -> _Card:
    import yaml
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    block = REGEX_YAML_BLOCK.search(file.read_bytes().decode("utf-8"))
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # seven times as fast, and the same
    data = yaml.load(block.group(2), Loader=fast) if block else {}
    configs = MetadataConfigs.from_dataset_card_data(data)
    return _Card(dict(configs), configs.get_default_config_name(), dict(DatasetInfosDict.from_dataset_card_data(data)))


def _files(folder: Path, patterns: Any) -> dict[str, list[Path]]:
    """Return the files of every split, found as `load_dataset` finds them; raise where a pattern matches none."""
    from datasets.data_files import resolve_pattern, sanitize_patterns

    wanted = sanitize_patterns(patterns)
    if any("://" in pattern for listed in wanted.values() for pattern in listed):
        raise ValueError("not in the mirror")
    return {
        str(split): [Path(file) for pattern in listed for file in resolve_pattern(pattern, folder.as_posix())]
        for split, listed in wanted.items()
    }


def _plain(files: Iterator[Path]) -> bool:
    """Tell whether `files` are parquet files that are here, and small enough to be held."""
    listed = list(files)
    if not listed or not all(file.suffix == ".parquet" for file in listed):
        return False
    return sum(file.stat().st_size for file in listed) <= LARGEST


def _features(file: Path) -> Any:
    import datasets
    import pyarrow.parquet as pq

    return datasets.Features.from_arrow_schema(pq.read_schema(file))


def _split(name: str, files: list[Path], features: Any, schema: Any) -> Any:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets.table import table_cast

    # One thread: these files are small, and a pool costs more than it saves.
    tables = [table_cast(pq.ParquetFile(file).read(use_threads=False), schema) for file in files]
    return datasets.Dataset(
        pa.concat_tables(tables),
        info=datasets.DatasetInfo(features=features),
        split=datasets.NamedSplit(name),
        fingerprint=_fingerprint(files),  # else `datasets` hashes every row for one
    )


def _fingerprint(files: list[Path]) -> str:
    seen = hashlib.sha256()
    for file in files:
        stat = file.stat()
        seen.update(f"{file} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n".encode())
    return seen.hexdigest()[:16]
