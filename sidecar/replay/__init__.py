"""Past traffic through another policy: what would have gone elsewhere, and what that is worth."""
