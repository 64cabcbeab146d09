"""What a training step uses."""
