"""The search for garbage rests while libraries are imported, and no longer."""

from __future__ import annotations

import gc

import pytest

from harness import libraries


def test_garbage_is_looked_for_again_whatever_an_import_does() -> None:
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError), libraries.importing():
        import no_such_module  # noqa: F401
    assert gc.isenabled()
    with libraries.importing():
        with libraries.importing():
            assert not gc.isenabled()
        assert not gc.isenabled()


def test_who_looks_for_none_keeps_it_so() -> None:
    gc.disable()
    try:
        with libraries.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
