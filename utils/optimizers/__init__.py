"""Optimizers by name, the parameter groups they get, and the learning-rate schedules."""
