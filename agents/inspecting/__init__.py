"""A run before it begins, and inside: what its data, its model and its first steps show."""
