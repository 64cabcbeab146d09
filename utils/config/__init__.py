"""YAML files -> checked values."""
