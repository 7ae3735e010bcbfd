"""Where populations train: on the CPU, or on a GPU where the machine has one."""

from __future__ import annotations

import torch

from pipeline.errors import Fault, StudyError

CPU = torch.device("cpu")

DEVICES = ("auto", "cpu", "cuda")


def device_of(name: str) -> torch.device:
    """Returns the device that a name asks for; `auto` is the GPU where there is one.

    Raises:
        StudyError: A GPU is asked for that this torch does not see.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        rule = "asks for a GPU, and torch sees none"
        build = "is built with CUDA" if torch.version.cuda else "is built without CUDA"
        raise StudyError([Fault("--device", rule, f"torch {torch.__version__}, which {build}",
                                "Use --device cpu or auto.")])  # fmt: skip
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")
