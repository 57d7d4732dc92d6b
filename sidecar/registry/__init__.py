"""The model registry: cards from models.json and gateway.yaml, integer money, and an index for the hot path.

`load` reads a catalogue, `override` lays the user's `models:` over it, `index` compiles both, `price` counts.
"""
