"""Garbage collection is off while libraries are imported, and only then."""

from __future__ import annotations

import gc

import pytest

from harness.common import slow_imports


def test_collection_is_enabled_again_even_if_an_import_fails() -> None:
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError), slow_imports.importing():
        import no_such_module  # noqa: F401
    assert gc.isenabled()
    with slow_imports.importing():
        with slow_imports.importing():
            assert not gc.isenabled()
        assert not gc.isenabled()


def test_collection_stays_disabled_if_it_was() -> None:
    gc.disable()
    try:
        with slow_imports.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_objects_are_frozen_once_and_only_in_our_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    monkeypatch.setattr(gc, "get_freeze_count", lambda: len(frozen))
    slow_imports.freeze()
    assert not frozen
    monkeypatch.setattr(slow_imports, "_is_own_process", False)  # so that it is restored after the test
    slow_imports.declare_own_process()
    slow_imports.freeze()
    slow_imports.freeze()
    assert len(frozen) == 1


def test_a_command_called_by_a_program_does_not_own_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cli import main

    monkeypatch.setattr(slow_imports, "_is_own_process", False)
    main(["--version"])
    assert not slow_imports._is_own_process
    monkeypatch.setattr("sys.argv", ["harness", "--version"])
    main()
    assert slow_imports._is_own_process
