"""The demo: a small invented world, a family of checkpoints trained on it, and how the checkpoints compare."""
