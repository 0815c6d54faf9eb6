"""Speed and memory beside bare peers, measured in turns in one session: `python -m benchmarks`."""
