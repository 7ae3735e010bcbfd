"""Gates, registry and the record of each decision."""
