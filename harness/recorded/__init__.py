"""Answers given elsewhere, scored into reports."""
