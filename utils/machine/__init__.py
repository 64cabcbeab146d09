"""The process: its device, memory, threads, signals, streams and terminal."""
