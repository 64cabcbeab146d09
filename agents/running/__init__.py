"""What every run needs around its model."""
