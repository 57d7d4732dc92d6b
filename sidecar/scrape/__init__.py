"""Scrapers: YAML specs that say where a page keeps its prices, and the pure reading of a page with one.

`spec` is the vocabulary, `extract` the way from bytes to rows and findings. No network, no clock, no file is touched.
"""
