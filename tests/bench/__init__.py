"""The benchmark harness: one table, everything in one run (`python -m tests.bench`, `make bench`)."""
