"""LawBench's metrics: as published, and repaired where they misread answers."""
