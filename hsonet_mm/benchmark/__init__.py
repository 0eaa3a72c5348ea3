"""Benchmarks that compare alternatives in turn within one run; one part per file, run by ``tools/benchmark.py``."""
