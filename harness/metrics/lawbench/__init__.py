"""LawBench's metrics as published, and repaired."""
