"""A device that stands in for a GPU: computes on the CPU, and is as strict as a GPU.

A tensor is on it or is not. An operation whose tensors are not all on it fails, as on a GPU; but
for copies, and for single numbers, which a GPU takes too. What crosses to it, what comes back, and
the memory that its tensors hold are counted.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)


class _Module(_DummyBackendModule):  # type: ignore[misc]
    """What torch asks of every device: it draws nothing, so that it has no state of drawing."""

    def get_rng_state(self, device: object) -> None:
        pass

    def set_rng_state(self, state: None, device: object) -> None:
        pass


_setup_privateuseone_for_python_backend("standin", _Module())
DEVICE = torch.device("standin", 0)
COPIES = ("aten._to_copy.default", "aten.copy_.default")
READS = ("aten._local_scalar_dense.default",)


class Account:
    """What has happened on the device since `watch`."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()  # shapes that crossed to it
        self.back: Counter[str] = Counter()  # what came back: the program waited for the device
        self.ran: Counter[str] = Counter()
        self.n_bytes = 0
        self.peak = 0
        self.limit = float("inf")
        self._holders: Counter[int] = Counter()

    def hold(self, tensor: OnDevice) -> None:
        """Counts a tensor's memory until it and its views are gone."""
        storage = tensor.inner.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if self._holders[key] == 0:
            if self.n_bytes + size > self.limit:
                raise torch.OutOfMemoryError(f"{self.n_bytes + size} bytes on the stand-in")
            self.n_bytes += size
            self.peak = max(self.peak, self.n_bytes)
        self._holders[key] += 1
        tensor.release = weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            self.n_bytes -= size


account = Account()


class OnDevice(Tensor):
    """A tensor of the device; its numbers are in `inner`."""

    inner: Tensor
    release: Callable[[], object]

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=DEVICE,
        )  # fmt: skip
        made.inner = inner
        account.hold(made)
        return made

    def __init__(self, inner: Tensor) -> None:
        pass

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: OnDevice) -> None:
        Tensor.data.__set__(self, other)
        self.release()
        self.inner = other.inner
        account.hold(self)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("numpy cannot read a tensor of another device; copy it with .cpu()")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def watch() -> Iterator[Account]:
    """Makes the device usable, and gives what happens on it."""
    global account
    before, account = account, Account()
    inference, torch.inference_mode = torch.inference_mode, torch.no_grad  # no views of ours in it
    try:
        with _Mode():
            yield account
    finally:
        account, torch.inference_mode = before, inference


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    name = str(func)
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in given if isinstance(tensor, OnDevice)]
    asked = kwargs.get("device")
    _check(name, given, here)
    inner_args, inner_kwargs = tree_map_only(OnDevice, lambda t: t.inner, (args, kwargs))
    if asked is not None:
        inner_kwargs["device"] = "cpu"
    found = func(*inner_args, **inner_kwargs)
    on_device = bool(here) if asked is None else torch.device(asked).type == DEVICE.type
    _count(name, given, here, on_device)
    changed = _changed(func, args, kwargs)
    if changed is not None:
        return changed
    if not on_device:
        # A copy to the computer's memory is one: it must not share numbers with the device.
        return found
    return tree_map_only(Tensor, lambda t: t if isinstance(t, OnDevice) else OnDevice(t), found)


def _check(name: str, given: list[Tensor], here: list[OnDevice]) -> None:
    elsewhere = [tensor for tensor in given if not isinstance(tensor, OnDevice) and tensor.dim()]
    if here and elsewhere and name not in COPIES:
        shapes = [tuple(tensor.shape) for tensor in elsewhere]
        raise RuntimeError(f"{name}: all tensors must be on the device, but {shapes} are not")


def _count(name: str, given: list[Tensor], here: list[OnDevice], on_device: bool) -> None:
    if here:
        account.ran[name] += 1
    shape = str(tuple(given[0].shape)) if given else ""
    if name in READS and here:
        account.back[f"number {shape}"] += 1
    elif name == "aten.nonzero.default" and here:
        account.back["nonzero"] += 1
    elif name == "aten._to_copy.default" and here and not on_device:
        account.back[shape] += 1
    elif name == "aten._to_copy.default" and on_device and not here:
        account.sent[shape] += 1
    elif name == "aten.copy_.default" and len(here) == 1:
        (account.sent if isinstance(given[0], OnDevice) else account.back)[shape] += 1


def _changed(func: Any, args: Any, kwargs: Any) -> Any:
    """Returns the arguments that an operation changes and gives back; None where it makes new."""
    written = [
        kwargs[argument.name] if argument.name in kwargs else args[at]
        for at, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None
        and argument.alias_info.is_write
        and (argument.name in kwargs or at < len(args))
    ]
    gives = [one.alias_info is not None and one.alias_info.is_write for one in func._schema.returns]
    if not any(gives):
        return None
    return written[0] if len(gives) == 1 else tuple(written[: len(gives)])


_library = torch.library.Library("aten", "IMPL", "PrivateUse1")
for _op in ("empty.memory_format", "empty_strided.default", "copy_.default"):
    # `torch.tensor` goes past the mode.
    _packet, _, _overload = _op.partition(".")
    _found = getattr(getattr(torch.ops.aten, _packet), _overload)
    _library.impl(_found, lambda *args, _found=_found, **kwargs: _run(_found, args, kwargs))
