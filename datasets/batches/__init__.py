"""Rows -> batches."""
