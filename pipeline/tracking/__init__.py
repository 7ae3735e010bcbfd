"""MLflow: one writer a study, buffered, off the training path."""
