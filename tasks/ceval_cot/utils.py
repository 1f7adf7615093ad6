"""ChatGLM2's two passes."""

from harness.tasks.protocols.think_then_choose import ThinkThenChoose

__all__ = ["ThinkThenChoose"]
