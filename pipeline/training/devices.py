"""Where populations train: which device, what it is called, what its memory has room for."""

from __future__ import annotations

import torch

from pipeline.errors import InputError, near_miss

CPU = torch.device("cpu")

DEVICES = ("auto", "cpu", "cuda")
"""What may be asked for."""


def find_device(asked: str = "auto") -> torch.device:
    """Returns the device that was asked for.

    Args:
        asked: `cpu`, `cuda`, or `auto` for a GPU where torch finds one.

    Raises:
        InputError: There is no such device here.
    """
    if asked not in DEVICES:
        raise InputError(
            f"The device must be one of {', '.join(DEVICES)}. Found {asked}. "
            f"{near_miss(asked, DEVICES)}"
        )
    found = torch.cuda.is_available()
    if asked == "cuda" and not found:
        built = torch.version.cuda
        why = (
            f"this build of torch ({torch.__version__}) has no CUDA; pytorch.org/get-started names "
            "the one that has"
            if built is None
            else f"torch {torch.__version__} is built for CUDA {built}: does `nvidia-smi` show one?"
        )
        raise InputError(
            f"`--device cuda` needs a GPU. Found none: {why}. Or train with `--device cpu`."
        )
    return torch.device("cuda", torch.cuda.current_device()) if found and asked != "cpu" else CPU


def device_title(device: torch.device) -> str:
    """Returns what a device is called: `cpu`, or `cuda (NVIDIA H100)`."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def free_bytes(device: torch.device) -> float:
    """Returns the memory that is free, what torch holds unused counted; infinite on a CPU.

    On a CPU the system pages, and data mapped from the cache takes none.
    """
    if device.type != "cuda":
        return float("inf")
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(free + unused)


def restart_peak(device: torch.device) -> None:
    """Forgets how much memory was held at most."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> float:
    """Returns the most memory that tensors held at once since `restart_peak`; 0 on a CPU."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0.0


def give_back(device: torch.device) -> None:
    """Returns memory that torch holds unused, so that other sizes fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


TOO_LARGE = (
    "One member alone needs more memory than the device has. Use a smaller `train.batch_size` or "
    "`model.layers`, or train with `--device cpu`."
)


def is_out_of_memory(error: Exception) -> bool:
    """Tells whether memory was short: what torch raises, or a library below it in its own words.

    cuBLAS, cuDNN and their kin ask for memory of their own, and torch passes on what they answer
    (`CUBLAS_STATUS_ALLOC_FAILED`) as any other error.
    """
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "_STATUS_ALLOC_FAILED" in str(error)
    )


def finish(device: torch.device) -> None:
    """Waits until a device has done what it was given: a GPU works behind the program."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
