"""Metrics: texts and samples in, numbers out. Pure functions, no model, no files."""
