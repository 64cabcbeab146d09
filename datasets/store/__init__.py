"""Tokens on disk, made once."""
