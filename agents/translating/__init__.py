"""What belongs to text-to-text models alone."""
