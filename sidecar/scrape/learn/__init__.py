"""From a page and the prices that are known to a scraper's spec: the way back when a site is redesigned.

`known` is what is known; `tables`, `cards`, `headings` and `records` are the places of a page where a price list may
stand; `sheet`, `naming` and `fit` say how well the known figures stand in one; `propose` makes a spec of the best and
runs the extractor with it; `text` writes it down. Pure.
"""
