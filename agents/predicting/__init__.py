"""What `predict` does beyond one process and the bare answer: calibration, sets of labels, several processes, files."""
