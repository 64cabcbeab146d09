"""A run's folder, experiments/NAME."""
