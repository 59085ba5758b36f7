"""Benchmarks: sets x learners x strategies x blocks, every cell a study, and what may be claimed from them."""
