"""Answers that were given elsewhere, scored into reports.

files → lines, formats/ → recordings → match → join → score
"""
