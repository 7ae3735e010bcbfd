"""Stage 1: read sources, split, fit encoders on train, cache."""
