"""Computing so that the same numbers come every time, on a GPU as well."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cnnkit.errors import UnavailableError, setting

REFUSAL = re.compile(r"(.+?) does not have a deterministic implementation")


@contextmanager
def deterministic_operations(wanted: bool) -> Iterator[None]:
    """Compute only with operations that give the same numbers every time, if that is wanted.

    On a GPU others are the default, such as those that add up gradients in no fixed order. What
    torch was set to is put back at the end.

    Raises:
        UnavailableError: torch has no such operation for something within.
    """
    if not wanted:
        yield
        return
    import torch
    import torch._inductor.config as inductor

    cudnn = torch.backends.cudnn
    memory: Any = torch.utils.deterministic  # a module whose attributes are properties
    earlier = (
        torch.get_deterministic_debug_mode(),
        inductor.deterministic,
        cudnn.benchmark,
        memory.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = False  # the fastest kernel of a moment may be another the next time
    memory.fill_uninitialized_memory = False
    try:
        yield
    except RuntimeError as error:
        found = REFUSAL.search(str(error))
        if found is None:
            raise
        raise UnavailableError(
            f"torch has no {found[1]} that gives the same numbers every time on this device",
            f"leave {setting('deterministic')} out",
        ) from error
    finally:
        mode, inductor.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = earlier
        torch.set_deterministic_debug_mode(mode)


def is_refused(error: Exception) -> bool:
    """Return whether an error of torch says that an operation has no fixed order."""
    return isinstance(error, RuntimeError) and REFUSAL.search(str(error)) is not None
