"""Readers of official result and ground truth files, and scoring of files on disk."""
