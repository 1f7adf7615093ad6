"""lm-eval's dialect of YAML (`include`, `!function`), read as lm-eval's `load_yaml` reads it, but each file once.

lm-eval parses an included file anew for every file that includes it, so the one template of 57 subjects 57 times, and
makes a loader class a file; reading the 700 files between `mmlu` and its prompts cost more than reading its documents.

What is returned shares its parts with what other files include: it is to be copied before it is changed.

Not here: which files there are, or what they define (`harness.tasks.index`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class _File(NamedTuple):
    content: dict[str, Any]
    """The file's own keys over those of what it includes."""
    files: frozenset[Path]
    """The file, and all that it includes."""


class Reader:
    """Reads YAML files, and remembers them: a snapshot of the definitions, for as long as it is kept."""

    def __init__(self, *, functions: bool) -> None:
        """Import what `!function` names, or leave its path in its place."""
        self._functions = functions
        self._files: dict[Path, _File] = {}
        self._folders: dict[Path, Path] = {}
        self._loaders: dict[Path, Any] = {}

    def read(self, path: Path) -> dict[str, Any]:
        """Return the content of the file at `path` with what it includes; raise what lm-eval's own reader would."""
        return dict(self._read(self._resolved(path.expanduser()), ()).content)

    def _resolved(self, path: Path) -> Path:
        """Return `path.resolve()`; a folder is walked up once, not once for each of its hundreds of files."""
        if path.is_symlink():
            return path.resolve()
        if path.parent not in self._folders:
            self._folders[path.parent] = path.parent.resolve()
        return self._folders[path.parent] / path.name

    def _read(self, path: Path, above: tuple[Path, ...]) -> _File:
        if path in above:
            raise ValueError(f"Include cycle at {path}")
        if path not in self._files:
            self._files[path] = self._merged(path, above)
        return self._files[path]

    def _merged(self, path: Path, above: tuple[Path, ...]) -> _File:
        own = self._parsed(path)
        included = own.pop("include", [])
        merged: dict[str, Any] = {}
        seen = {path}
        for named in included if isinstance(included, list) else [included]:
            file = self._read(self._resolved(path.parent / named), (*above, path))
            if seen & file.files:  # lm-eval takes a file that is reached on two ways for a cycle, too
                raise ValueError(f"Include cycle at {path}")
            seen |= file.files
            # What an included file lists are its own tasks.
            merged |= {key: value for key, value in file.content.items() if key != "task_list"}
        return _File(merged | own, frozenset(seen))

    def _parsed(self, path: Path) -> dict[str, Any]:
        import yaml
        from lm_eval.tasks._yaml_loader import _make_loader

        if path.parent not in self._loaders:
            self._loaders[path.parent] = _make_loader(path.parent, resolve_funcs=self._functions)
        with path.open("rb") as file:
            content = yaml.load(file, Loader=self._loaders[path.parent])
        if not isinstance(content, dict):
            raise ValueError(f"Expected YAML dict from {path}, got {type(content).__name__}")
        return content
