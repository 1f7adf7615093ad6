"""Text and samples in, numbers out: pure functions, no model, no files."""
