"""Where a run's curves, tables and images go besides metrics.jsonl. Another tracker is one file and one entry in TRACKERS."""

from utils.trackers.trackio import Trackio

TRACKERS = {"trackio": Trackio}  # besides TensorBoard, which every run has
