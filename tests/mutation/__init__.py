"""Would a mistake in the shipped policies be noticed? Mutants of them, and how many `test` and `validate` catch."""
