"""Parts of a training step: update, precision, freezing, weight averaging, counters."""
