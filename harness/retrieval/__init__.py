"""Retrieval of statutes and passages for questions: reading, indexing (BM25 or dense), measuring, and the results."""
