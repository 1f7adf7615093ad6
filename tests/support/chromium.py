"""Debian's Chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]


@contextmanager
def browser() -> Iterator[Any]:
    """Start a browser for the `with` block; the test is skipped, in CI failed, where none is installed."""
    executable = shutil.which("chromium")
    if not executable:
        message = "Chromium is not installed: apt-get install chromium"
        pytest.fail(message) if os.environ.get("HARNESS_CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield opened
        opened.close()
