"""Indexes of statutes and passages, and their files."""
