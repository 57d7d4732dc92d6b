"""Unmodified clients against a live gateway, with the emulator as every provider."""
