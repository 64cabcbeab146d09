"""What is measured: one family of metrics per file."""
