"""lm-eval's dialect of YAML (`include`, `!function`): same result as lm-eval's `load_yaml`, but each file parsed once.

lm-eval parses an included file again for every file that includes it (a template that 57 subjects include, 57 times),
and makes a loader class for each file. Reading the 700 files that `mmlu` needs for its prompts took longer than reading
its documents.

Results of several files share parts (lists, dictionaries), so copy a result before changing it.

Not here: finding the files, or what they define (`harness.tasks.index`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from harness.common import safe_load


class _File(NamedTuple):
    content: dict[str, Any]
    """The file's own keys, which override those of the files it includes."""
    files: frozenset[Path]
    """The file and all files that it includes."""


def stamp(file: Path) -> tuple[int, ...]:
    """Return the size, times and inode of `file`, which change with its content; an empty tuple if there is no file."""
    try:
        stat = file.stat()
    except OSError:
        return ()
    return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


class Reader:
    """Reads YAML files and remembers them: a snapshot of the definitions for as long as the reader lives."""

    def __init__(self, *, functions: bool) -> None:
        """With `functions`, import the functions that `!function` names; without, leave their paths as text."""
        self._functions = functions
        self._files: dict[Path, _File] = {}
        self.stamps: dict[Path, tuple[int, ...]] = {}
        """Each file → its `stamp` from before it was read."""
        self._folders: dict[Path, Path] = {}
        self._loaders: dict[Path, Any] = {}

    def read(self, path: Path) -> dict[str, Any]:
        """Return the content of the file at `path` merged with the files it includes.

        Raises the errors that lm-eval's own reader raises.
        """
        return dict(self._read(self._resolve(path.expanduser()), ()).content)

    def _resolve(self, path: Path) -> Path:
        """Return `path.resolve()`, but resolve each folder only once, not for each of its hundreds of files."""
        if path.is_symlink():
            return path.resolve()
        if path.parent not in self._folders:
            self._folders[path.parent] = path.parent.resolve()
        return self._folders[path.parent] / path.name

    def _read(self, path: Path, above: tuple[Path, ...]) -> _File:
        if path in above:
            raise ValueError(f"Include cycle at {path}")
        if path not in self._files:
            self.stamps[path] = stamp(path)
            self._files[path] = self._merge(path, above)
        return self._files[path]

    def _merge(self, path: Path, above: tuple[Path, ...]) -> _File:
        content = self._parse(path)
        included = content.pop("include", [])
        merged: dict[str, Any] = {}
        visited = {path}
        for name in included if isinstance(included, list) else [included]:
            file = self._read(self._resolve(path.parent / name), (*above, path))
            if visited & file.files:  # like lm-eval, take a file that is reached twice for a cycle
                raise ValueError(f"Include cycle at {path}")
            visited |= file.files
            # The `task_list` of an included file names that file's own tasks.
            merged |= {key: value for key, value in file.content.items() if key != "task_list"}
        return _File(merged | content, frozenset(visited))

    def _parse(self, path: Path) -> dict[str, Any]:
        from lm_eval.tasks._yaml_loader import _make_loader

        if path.parent not in self._loaders:
            self._loaders[path.parent] = _make_loader(path.parent, resolve_funcs=self._functions)
        content = safe_load.yaml_file(path, self._loaders[path.parent])
        if not isinstance(content, dict):
            raise ValueError(f"Expected YAML dict from {path}, got {type(content).__name__}")
        return content
