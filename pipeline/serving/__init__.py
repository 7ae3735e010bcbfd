"""The self-contained predictor that a promoted model carries, and how it is saved and loaded."""
