"""What belongs to labels alone."""
