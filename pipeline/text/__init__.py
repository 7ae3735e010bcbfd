"""Texts as arrays: cleaning, words, term counts. Plain numpy, for served models too."""
