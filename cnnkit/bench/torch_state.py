"""The global state of torch that a measurement changes and restores."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from cnnkit.bench.device_clock import all_devices
from cnnkit.system.randomness import own_randomness

# Where torch may round fp32 in products, by parts of `torch.backends`.
_FP32_OPERATIONS = (
    ("cuda", "matmul"),
    ("cudnn", "conv"),
    ("cudnn", "rnn"),
    ("mkldnn", "matmul"),
    ("mkldnn", "conv"),
    ("mkldnn", "rnn"),
)


@contextmanager
def preserved_state() -> Iterator[None]:
    """Restore threads, fp32 precision, cudnn flags and the random state at the end.

    Also after an error, and after Ctrl-C. Within, random numbers are the same each time.
    """
    threads = torch.get_num_threads()
    roundings = [_operation(*one).fp32_precision for one in _FP32_OPERATIONS]
    cudnn = torch.backends.cudnn
    flags = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    devices = [torch.device(name) for name in all_devices()]
    try:
        with own_randomness(*devices):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        for one, rounding in zip(_FP32_OPERATIONS, roundings, strict=True):
            _operation(*one).fp32_precision = rounding
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = flags


def set_state(threads: int, precision: str) -> None:
    """Set the number of threads, and allow TF32 only for `tf32`.

    cudnn tries its kernels for every shape, and takes the fastest.
    """
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    rounding = "tf32" if precision == "tf32" else "ieee"
    for backend, operation in _FP32_OPERATIONS:
        # The kernels of the processor have no TF32 of their own; it stays out of their way.
        wanted = "ieee" if backend == "mkldnn" else rounding
        one = _operation(backend, operation)
        if one.fp32_precision != wanted:
            one.fp32_precision = wanted
    torch.backends.cudnn.benchmark = True


def _operation(backend: str, operation: str) -> Any:
    return getattr(getattr(torch.backends, backend), operation)
