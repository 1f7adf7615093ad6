"""Chat templates within bounds: every hostile or broken template ends in one sentence, and the next one still works."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.backends import chat_probes
from harness.backends.chat import ChatTemplate, UnusableTemplateError
from harness.checkpoints import template_worker, templates
from harness.checkpoints.templates import Bounds, TemplateRenderingError
from harness.errors import HarnessError
from support import chat_templates, tiny

QUESTION = [{"role": "user", "content": "问"}]
SHORT = Bounds(seconds=0.1)
LOOP = "{% for i in range(99999) %}"


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_uses", {})


@pytest.fixture(scope="module")
def words() -> Any:
    return tiny.tokenizer()


def render(words: Any, template: str, bounds: Bounds = SHORT, **settings: Any) -> str:
    words.chat_template = template
    return templates.render(words, QUESTION, bounds, **settings)


@pytest.mark.parametrize("name", sorted(chat_templates.RIGHT))
@pytest.mark.parametrize("settings", [{"add_generation_prompt": True}, {"continue_final_message": True}])
def test_a_text_is_what_transformers_writes(words: Any, name: str, settings: Any) -> None:
    words.chat_template = chat_templates.RIGHT[name]
    turns = [*QUESTION, {"role": "assistant", "content": "甲  乙"}]
    expected = words.apply_chat_template(turns, tokenize=False, enable_thinking=False, **settings)
    assert templates.render(words, turns, enable_thinking=False, **settings) == expected


@pytest.mark.parametrize(
    "template",
    [
        LOOP * 2 + "{% endfor %}" * 2,
        LOOP + "{{ 'x' * 100000 }}{% endfor %}",
    ],
)
def test_a_template_that_takes_too_long_is_ended_and_not_rendered_again(words: Any, template: str) -> None:
    with pytest.raises(TemplateRenderingError, match=r"takes more than 0\.1 seconds|MiB of memory|longer than"):
        render(words, template)
    with pytest.raises(TemplateRenderingError):
        render(words, template, Bounds(seconds=1000))  # at once, or this test would never end
    assert render(words, "{{ messages[0].content }}", Bounds()) == "问"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 'a' * 10**11 }}", "memory"),
        ("{{ 'a'|center(10**11) }}", "memory"),
        ("{{ 'a\nb'|indent(10**11) }}", "memory"),
        ("{{ '{:>90000000000}'.format(1) }}", "memory"),
        ("{{ 'x' * 20000000 }}", "longer than 16,777,216 characters"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "without end"),
        ("{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}", "without end"),
        ("{% for a in [1] %}" * 25 + "{% endfor %}" * 25, "nested"),
        ("{{ range(10**9)|list }}", "Range too big"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 1/0 }}", "division by zero"),
        ("{% include 'x' %}", "no loader"),
        ("{{ raise_exception('a\nb') }}", "^a b$"),
        ("{{ messages[0].content.encode().decode('ascii') }}", "ascii"),
        ("{{ caller() }}", "undefined"),
        ("{% if %}", "expression"),
        ("{{ '\\ud800' }}", "surrogate"),
    ],
)
def test_every_fault_of_a_template_is_one_sentence(words: Any, template: str, message: str) -> None:
    with pytest.raises(TemplateRenderingError, match=message) as error:
        render(words, template, Bounds(seconds=5))
    assert "\n" not in str(error.value)


def test_a_message_names_the_checkpoint_and_what_to_do(words: Any) -> None:
    words.chat_template = "{{ 1/0 }}"
    with pytest.raises(HarnessError, match=r"^the chat template of base cannot be rendered \(division by zero\): "):
        ChatTemplate("base", words).render(QUESTION)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (Bounds(seconds=0.0, average=0.0), "seconds of computing"),
        (Bounds(characters=0, growth=0), "wrote"),
    ],
)
def test_what_many_conversations_take_is_bounded_too(words: Any, bounds: Bounds, message: str) -> None:
    use = templates._Use(texts=2, seconds=2.5, received=10, written=5000)
    assert message in use.excess(bounds)
    assert not use.excess(Bounds())


# --- faults of the machine, which no template is blamed for


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_WORKER", templates._Worker())


@pytest.fixture
def plain_child(unstarted: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child that writes a template as it is; it starts in milliseconds, because it imports no transformers."""
    utils = tmp_path / "transformers" / "utils"
    utils.mkdir(parents=True)
    for folder in (utils, utils.parent):
        (folder / "__init__.py").touch()
    code = "def render_jinja_template(conversations, chat_template, **settings):\n    return [chat_template], None\n"
    (utils / "chat_template_utils.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_reply_that_was_interrupted_reaches_no_later_request(
    words: Any, plain_child: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(template_worker, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render(words, "first", Bounds())
    assert render(words, "second", Bounds()) == "second"


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false", "/dev/null"])
def test_a_process_that_cannot_be_started_is_no_fault_of_the_template(
    words: Any, unstarted: None, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    words.chat_template = "{{ messages[0].content }}"
    template = ChatTemplate("base", words)
    for function in (lambda: template.render(QUESTION), lambda: template.tail, lambda: chat_probes._history(template)):
        with pytest.raises(HarnessError, match="the process for chat templates cannot be started") as error:
            function()
        assert not isinstance(error.value, UnusableTemplateError)
    with pytest.raises(HarnessError, match="cannot be started"):
        templates.is_quick("a*b*", ["a"])
    assert not templates._uses[words.chat_template].fault


def test_a_library_that_cannot_be_imported_is_named(
    words: Any, unstarted: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "transformers.py").write_text("raise ImportError('no such symbol')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(HarnessError, match=r"cannot be started \(ImportError: no such symbol\)"):
        render(words, "x")


def test_a_process_that_is_not_ready_in_time_is_ended(
    words: Any, unstarted: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "transformers.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(HarnessError, match=r"not ready after 0\.1 seconds"):
        render(words, "x", Bounds(waiting=0.1))


def child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def test_a_process_that_the_system_ends_is_no_fault_of_the_template(
    words: Any, plain_child: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert render(words, "first", Bounds()) == "first"
    process = templates._WORKER._process
    assert process is not None
    os.kill(child_of(process.pid), signal.SIGKILL)  # while it waits: the next request is answered nevertheless
    assert render(words, "second", Bounds()) == "second"

    def ended(*_: object) -> dict[str, int]:
        return {"ended": -signal.SIGKILL}

    with monkeypatch.context() as patch:
        patch.setattr(templates, "_received", ended)
        patch.setattr(templates._Worker, "_started", lambda worker, _: worker._process)
        patch.setattr(templates._Worker, "_end", lambda _: 0)
        with pytest.raises(HarnessError, match="was ended twice, with signal 9"):
            render(words, "third", Bounds())
    assert not templates._uses["third"].fault


def test_a_template_that_crashes_its_process_is_blamed(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates._Worker, "_exchange", lambda *_: -signal.SIGSEGV)
    with pytest.raises(TemplateRenderingError, match="ended the process that rendered it, with signal 11"):
        render(words, "x")
    assert not templates.is_quick("a*b*", ["a"])
