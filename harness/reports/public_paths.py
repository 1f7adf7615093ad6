"""Paths without the folders of one machine: no home folder, no name of a user or host, no mount.

A checkpoint is identified by its fingerprint and a data set by its samples, so a path is only a name for readers. What
is known to be a path is reduced as a whole, by `reduced`, `in_reference` or `data_set`. `in_text` is the last net for
sentences; it changes no URL, no name on the hub and no relative path.

Not here: which values of a report are paths (`harness.reports.public_reports`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

_CACHED = re.compile(r"/(?:models|datasets)--([^/]+)/snapshots/[^/]+(/.+)?$")
"""A path in the hub's cache: the name on the hub, with `--` for `/`, and the rest of the path below the revision."""
_STEP = re.compile(r"(?:checkpoint|global_step|epoch|step)[-_]?\d+|final|best|last")
_OF_USERS = frozenset(("home", "homes", "user", "users"))
"""Folders, in lower case, whose entries are named after users."""
_TOP_FOLDER = re.compile(
    r"(?:home|users|root|mnt|media|data|disk|tmp|var|opt|srv|scratch|work|workspace|volumes|gpfs|lustre|nfs|nas|shared?"
    r"|cpfs|pfs|storage|ssd|nvme)\d*",
    re.IGNORECASE,
)
"""Top folders that make even an absolute path of two parts one of a machine."""
_ROUTE = re.compile(r"/(?:api/)?v\d+/")
"""The beginning of a route such as `/v1/chat/completions`, which is no path of a machine."""
_FILE_URL = re.compile(r"file:(?://[^/\s]*)?(?=/)")
_ELSEWHERE = re.compile(r"(?:~(?:[A-Za-z_][\w.-]*)?|\.\.)/")
_URL = re.compile(r"[A-Za-z][\w+.-]+://")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\[\w.$-]+\\[\w.$-]")
"""The beginning of an absolute path of Windows: a drive, or the host and the share of a UNC path."""

_NAME = r"[^\s'\"`,;:()\[\]{}<>|*?…/\\，。；：、（）《》「」“”！？]++"
_BEFORE = r"(?<![A-Za-z0-9_.~…/\\)\]}>-])"
_AFTER = r"(?![\w-]|\.\w)"
_FILE = r"(?:file:(?://[^/\s]*)?(?=/))?"
_PATHS = (
    r"(?P<url>\b(?!file:)[A-Za-z][\w+.-]{1,30}://(?:(?!::)[^\s'\"`<>])*)"
    rf"|(?P<quote>['\"`])(?P<quoted>(?:{_FILE}(?:~(?:[A-Za-z_][\w.-]*)?)?/|[A-Za-z]:[\\/]|\\\\\w)[^'\"`\n]*)(?P=quote)"
    rf"|{_BEFORE}(?P<windows>(?:[A-Za-z]:[\\/]|\\\\{_NAME}\\){_NAME}(?:[\\/]+{_NAME})*)"
    rf"|{_BEFORE}(?P<path>(?:\.\.|{_FILE}(?:~(?:[A-Za-z_][\w.-]*)?)?)/{_NAME}(?:/+{_NAME})*)"
)


def reduced(path: str) -> str:
    """Return a path as a report shows it; a relative path, a URL or a name on the hub is returned as it is.

    A path in the hub's cache becomes the name on the hub, and a path below the working directory becomes relative. Of
    any other path only the end is left: `…/base`, or `…/lora/checkpoint-300`.
    """
    if (place := _absolute(path)) is None:
        return path
    if name := _hub_name(place):
        return name
    here, home = _folders()
    if not _is_windows(path) and place != here and place.is_relative_to(here) and _is_project(here, home):
        return place.relative_to(here).as_posix()
    if place == home:
        return "…"
    above = place.parent
    has_parent = _STEP.fullmatch(place.name) and above.name and above != home and not _is_named_after_user(above)
    return f"…/{above.name}/{place.name}" if has_parent else _end(place)


def in_reference(path: str) -> str:
    """Return a path of a checkpoint reference, reduced.

    A path in the hub's cache does not become a name on the hub, as in `reduced`, because that name may stand for
    another revision later. It becomes the end of a path: `…/Qwen/Qwen3-8B`.
    """
    place = _absolute(path)
    name = None if place is None else _hub_name(place)
    return reduced(path) if name is None else f"…/{name}"


def data_set(name: str) -> str:
    """Return the name of a data set, `…/NAME` if it is an absolute path.

    The name decides whether reports are compared, so it does not depend on the working directory, the home folder or
    the files of this machine. A name that is already reduced stays the same.
    """
    place = _absolute(name, is_expanded=False)
    return name if place is None else _hub_name(place) or _end(place)


def is_reduced(path: str) -> bool:
    """Return whether only the end of `path` is left. No file is found at such a path."""
    return path.startswith("…")


def in_text(text: str, known: Sequence[str] = ()) -> str:
    """Return `text` with every path of this machine replaced by what `reduced` returns for it.

    `known` are paths that may occur in `text`. These, the working directory, the home folder and paths in quotes are
    found even if they contain spaces, commas or brackets; other paths end there.
    """
    if "/" not in text and "\\" not in text:
        return text
    folders = sorted(set(_known_folders(known)), key=len, reverse=True)
    prefixes = "|".join(map(re.escape, folders))
    pattern = rf"{_BEFORE}(?P<known>{_FILE}(?:{prefixes})(?:[\\/]+{_NAME})*+){_AFTER}|{_PATHS}" if folders else _PATHS
    return re.sub(pattern, lambda match: _replacement(match, pattern), text)


def is_local(path: str) -> bool:
    """Return whether an absolute path looks like one on a machine, and not like a fraction (`/10`) or a route."""
    if _ELSEWHERE.match(path) or _FILE_URL.match(path) or _WINDOWS.match(path):
        return True
    parts = list(filter(None, path.split("/")))
    if not path.startswith("/") or path.startswith("//") or len(parts) < 2 or _ROUTE.match(path):
        return False
    # Unlike Path's, this is_dir is False for a name that no file system can hold.
    return len(parts) > 2 or _TOP_FOLDER.fullmatch(parts[0]) is not None or os.path.isdir(f"/{parts[0]}")  # noqa: PTH112


# --- values


def _absolute(path: str, *, is_expanded: bool = True) -> PurePosixPath | None:
    """Return the place of `path`, or None if a report may show it as it is: a relative path, a URL or a name.

    A relative path that leaves the working directory counts as absolute. Only if `is_expanded`, the place depends on
    the working directory and the home folder.
    """
    text = _FILE_URL.sub("", path, count=1) if _FILE_URL.match(path) else path
    if _is_windows(text):
        return PurePosixPath("/", *re.split(r"[\\/]+", text)[1:])
    is_url = _URL.match(text) is not None
    if is_url or (not text.startswith(("/", "~")) and ".." not in text.split("/")):
        return None
    try:
        expanded = os.path.expanduser(text) if is_expanded else text  # noqa: PTH111 - Path's raises if there is no such user
    except UnicodeEncodeError:  # a text that names no user and no file
        expanded = text
    here = _folders()[0] if is_expanded else PurePosixPath("/")
    return PurePosixPath(os.path.normpath(here / (f"/{expanded}" if expanded.startswith("~") else expanded)))


def _is_windows(path: str) -> bool:
    return _WINDOWS.match(path) is not None and _URL.match(path) is None


def _hub_name(place: PurePosixPath) -> str | None:
    """Return the name on the hub of a place in the hub's cache, with the rest of the path; None for another place."""
    match = _CACHED.search(place.as_posix())
    return None if match is None else match[1].replace("--", "/", 1) + (match[2] or "")


def _folders() -> tuple[PurePosixPath, PurePosixPath]:
    """Return the working directory (`/` if it has been removed) and the home folder (`~` if there is none)."""
    try:
        here = Path.cwd()
    except OSError:
        here = Path("/")
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises if there is none
    return PurePosixPath(here), PurePosixPath(home)


def _is_project(here: PurePosixPath, home: PurePosixPath) -> bool:
    """Return whether paths below the working directory reveal no user: it is not above the home folder."""
    is_above = here != home and home.is_relative_to(here)
    return bool(here.name) and not is_above and here.name.lower() not in _OF_USERS


def _is_named_after_user(place: PurePosixPath) -> bool:
    return place.name.startswith("~") or place.parent.name.lower() in _OF_USERS


def _end(place: PurePosixPath) -> str:
    return f"…/{place.name}" if place.name and not _is_named_after_user(place) else "…"


# --- texts


def _known_folders(known: Iterable[str]) -> Iterator[str]:
    """Yield the paths that are to be found in a text, and their parents if another pattern would not find these."""
    here, home = map(str, _folders())
    for path in (*known, here, home):
        text = path.rstrip("/\\")
        if not text.strip("~./") or reduced(text) == text:
            continue
        expanded = os.path.expanduser(text)  # noqa: PTH111 - Path's raises if there is no such user
        yield from (text, expanded)
        if expanded.startswith("/"):
            parents = map(str, PurePosixPath(expanded).parents)
            yield from (parent for parent in parents if not re.fullmatch(rf"(?:/{_NAME})*/?", parent))


def _replacement(match: re.Match[str], pattern: str) -> str:
    groups = match.groupdict()
    if groups["url"]:
        return match[0]
    if (quoted := groups["quoted"]) is not None:
        quote = match["quote"]
        if is_local(quoted):
            return f"{quote}{reduced(quoted)}{quote}"
        return f"{quote}{re.sub(pattern, lambda part: _replacement(part, pattern), quoted)}{quote}"
    is_known = bool(groups.get("known"))
    path = match[0].rstrip(".")
    follows_word = match.start() > 0 and match.string[match.start() - 1].isalnum()  # of a script without spaces
    top = path.lstrip("/").partition("/")[0]
    if not is_known and (not is_local(path) or (follows_word and not _TOP_FOLDER.fullmatch(top))):
        return match[0]
    return reduced(path) + match[0][len(path) :]
