"""Stage 2: a population of members, trained at once."""
