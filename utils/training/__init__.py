"""Parts of a training step: optimizers, schedules, precision, counters."""
