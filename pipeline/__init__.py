"""Multi-task studies: one YAML file in; a tuned, tracked, comparable, promoted model out."""
