"""Loss weights: how the losses of a member's tasks are put together. One strategy a file.

`base` says what a strategy is; `weights` has the static weights, which say what a member trains.
"""

from pipeline.training.weighting.weights import alone_weights, stack_weights, task_weights

__all__ = ["alone_weights", "stack_weights", "task_weights"]
