"""The token store: tokens on disk, computed once."""
