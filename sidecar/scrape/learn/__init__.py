"""From a page and the prices that are known to a scraper's spec: the way back when a site is redesigned.

`known` is what is known, `html`, `cards`, `markdown` and `records` are the places of a page where a price list may stand,
`fit` says how well the known figures stand in one, and `propose` makes a spec of the best and runs the extractor with it.
"""
