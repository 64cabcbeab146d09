"""What every run needs round its model."""
