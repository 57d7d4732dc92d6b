"""Tests of policies: cases in YAML beside them, taken through the graph that serves traffic. Offline, without a key."""
