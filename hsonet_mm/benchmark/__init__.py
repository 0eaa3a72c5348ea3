"""What things cost beside one another, measured in turns in one run; a part a file, run by ``tools/benchmark.py``."""
