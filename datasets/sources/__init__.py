"""Data sets, the sources of rows."""
