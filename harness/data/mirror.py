"""Fast reading of a mirror's data sets: the same splits as `datasets.load_dataset`, directly from parquet files.

`load_dataset` takes 60 ms per configuration, however small: it parses the card (README.md) with all configurations,
pickles the card to name a cache, and writes Arrow files to that cache. For 57 subjects that takes seconds. Here the
card is parsed once, and the files that it names are read, a millisecond each. Rows, features and names of splits are
the same.

Everything else (other formats, builder settings, files too large for memory) is left to `load_dataset`. Data that
`load_dataset` would refuse are left to it, too, so that users get its error messages. Only the parsed card is cached
between calls, keyed by its stamp or hash (`harness.common.stamps`), so that a replaced card is read again.

Not here: data sets of the hub, or the choice of a task's data (`harness.tasks.factory`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import parquet, safe_load, stamps, unpacking
from harness.errors import HarnessError

LARGEST = 32 * 2**20
"""Largest total size in bytes of a configuration's parquet files; larger data are better mapped from Arrow files."""
_SUPPORTED_KEYS = {"data_files", "default"}
"""Keys of a configuration in a data set's card that this module supports."""
_OTHER_METADATA = (".huggingface.yaml", "dataset_infos.json")
"""Files beside the card that may also describe the data set, and that this module does not support."""


class _Card(NamedTuple):
    """The configurations in a data set's card."""

    configs: dict[str, dict[str, Any]]
    """Files and settings by the name of the configuration."""
    default: str | None
    """The name of the default configuration."""
    infos: dict[str, Any]
    """`datasets.DatasetInfo` by the name of the configuration."""


def read(folder: Path, config: str | None) -> Any | None:
    """Return the splits of configuration `config` (None: the default one) of the data set in `folder`.

    The result is a `datasets.DatasetDict`, or None if `load_dataset` has to read the data set. Raises HarnessError if
    the card or a file exceeds a limit of this project, which `load_dataset` does not have.
    """
    try:
        return _read(folder.resolve(), config)
    except safe_load.UnsafeContentError as error:
        raise HarnessError(f"{folder / 'README.md'} cannot be read ({error}): fetch the data set again") from error
    except unpacking.UnsafeArchiveError as error:
        raise HarnessError(f"{folder} cannot be read ({error}): fetch the data set again") from error
    except Exception:  # `load_dataset` raises the error that the user gets
        return None


def _read(folder: Path, config: str | None) -> Any | None:
    import datasets
    from datasets.utils.info_utils import verify_splits

    card = _card(folder)
    name = config or card.default
    settings = card.configs.get(name) if name is not None else None
    if settings is None or name is None or not settings.keys() <= _SUPPORTED_KEYS:
        return None
    if any((folder / file).exists() for file in _OTHER_METADATA):
        return None
    files = _files(folder, settings["data_files"])
    if not _are_small_parquet(file for listed in files.values() for file in listed):
        return None
    info = card.infos.get(name, datasets.DatasetInfo())
    features = info.features or _features(next(iter(files.values()))[0])
    schema = features.arrow_schema  # the property builds it at every access
    splits = datasets.DatasetDict({split: _split(split, listed, features, schema) for split, listed in files.items()})
    if not all(map(len, splits.values())):
        return None
    verify_splits(info.splits, {split: datasets.SplitInfo(split, 0, len(rows)) for split, rows in splits.items()})
    return splits


def _card(folder: Path) -> _Card:
    file = folder / "README.md"
    return _parsed(file, stamps.version(file))


@functools.lru_cache(maxsize=16)
def _parsed(file: Path, version: str) -> _Card:
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    block = REGEX_YAML_BLOCK.search(file.read_bytes().decode("utf-8"))
    data = safe_load.yaml_text(block.group(2)) if block else {}
    configs = MetadataConfigs.from_dataset_card_data(data)
    return _Card(dict(configs), configs.get_default_config_name(), dict(DatasetInfosDict.from_dataset_card_data(data)))


def _files(folder: Path, patterns: object) -> dict[str, list[Path]]:
    """Return the files of every split, resolved as `load_dataset` does; raise if a pattern matches none."""
    from datasets.data_files import resolve_pattern, sanitize_patterns

    by_split = sanitize_patterns(patterns)
    if any("://" in pattern for listed in by_split.values() for pattern in listed):
        raise ValueError("not in the mirror")
    return {
        str(split): [Path(file) for pattern in listed for file in resolve_pattern(pattern, folder.as_posix())]
        for split, listed in by_split.items()
    }


def _are_small_parquet(files: Iterator[Path]) -> bool:
    """Return whether `files` are parquet files that together fit in memory; False if there are none."""
    listed = list(files)
    if not listed or not all(file.suffix == ".parquet" for file in listed):
        return False
    return sum(file.stat().st_size for file in listed) <= LARGEST


def _features(file: Path) -> Any:
    import datasets

    with parquet.open_table(file) as opened:
        return datasets.Features.from_arrow_schema(opened.schema_arrow)


def _split(name: str, files: list[Path], features: Any, schema: Any) -> Any:
    import datasets
    import pyarrow as pa
    from datasets.table import table_cast

    tables = []
    for file in files:
        unpacking.check_parquet(file)
        with parquet.open_table(
            file
        ) as opened:  # one thread: for such small files a pool takes more time than it saves
            tables.append(table_cast(opened.read(use_threads=False), schema))
    return datasets.Dataset(
        pa.concat_tables(tables),
        info=datasets.DatasetInfo(features=features),
        split=datasets.NamedSplit(name),
        fingerprint=_fingerprint(files),  # without it, `datasets` would hash every row
    )


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file} {stamps.version(file)}\n".encode())
    return digest.hexdigest()[:16]
