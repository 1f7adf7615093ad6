"""The embedded default: a small invented world, checkpoints trained on it, and the story of how they compare."""
