"""Readers of official result and ground-truth files, and scoring of result files on disk."""
