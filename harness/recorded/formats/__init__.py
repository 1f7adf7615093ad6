"""The formats in which other systems and this project record predictions: one module each, listed in `registry`.

Not here: finding files (`harness.recorded.recordings`), or matching answers to documents (`harness.recorded.match`).
"""
