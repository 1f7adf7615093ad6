"""The two passes of ChatGLM2's protocol."""

from harness.tasks.protocols.think_then_choose import ThinkThenChoose

__all__ = ["ThinkThenChoose"]
