"""What belongs to masked language models alone."""
