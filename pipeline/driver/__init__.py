"""The driver: asks Optuna, runs members through a backend, prunes, tells, resumes."""
