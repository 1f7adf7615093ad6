"""ChatGLM2's two passes."""

from harness.protocols import ThinkThenChoose

__all__ = ["ThinkThenChoose"]
