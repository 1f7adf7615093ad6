"""The search for garbage rests while libraries are imported, and no longer."""

from __future__ import annotations

import gc

import pytest

from harness.common import slow_imports


def test_garbage_is_looked_for_again_whatever_an_import_does() -> None:
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError), slow_imports.importing():
        import no_such_module  # noqa: F401
    assert gc.isenabled()
    with slow_imports.importing():
        with slow_imports.importing():
            assert not gc.isenabled()
        assert not gc.isenabled()


def test_who_looks_for_none_keeps_it_so() -> None:
    gc.disable()
    try:
        with slow_imports.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_only_a_process_of_ours_keeps_what_is_alive_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    monkeypatch.setattr(gc, "get_freeze_count", lambda: len(frozen))
    slow_imports.freeze()
    assert not frozen
    monkeypatch.setattr(slow_imports, "_is_own_process", False)  # so that it is put back
    slow_imports.declare_own_process()
    slow_imports.freeze()
    slow_imports.freeze()
    assert len(frozen) == 1


def test_a_command_given_by_a_program_does_not_own_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cli import main

    monkeypatch.setattr(slow_imports, "_is_own_process", False)
    main(["--version"])
    assert not slow_imports._is_own_process
    monkeypatch.setattr("sys.argv", ["harness", "--version"])
    main()
    assert slow_imports._is_own_process
