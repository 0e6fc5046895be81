"""The parts of torch, torchvision and Pillow that they do not promise, each with its reason.

Nothing else in cnnkit uses a name of theirs that begins with an underscore, or replaces one of
their functions. Every part was run with the oldest versions of `pyproject.toml` and with torch
2.15, torchvision 0.29 and Pillow 13; `tests/test_compat.py` fails where one of them changes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image, ImageFile
    from torch import Tensor, nn


def processor_capabilities() -> dict[str, object]:
    """Return what torch knows of the processor's instructions, such as `avx512_bf16`.

    `torch.cpu.get_capabilities` came with torch 2.11; before it a few private functions say the
    same of the instructions that torch itself has kernels for.
    """
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    has_amx = torch.cpu._is_amx_tile_supported()
    return {
        "avx2": torch.cpu._is_avx2_supported(),
        "avx512_f": torch.cpu._is_avx512_supported(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "avx512_vnni": torch.cpu._is_vnni_supported(),
        "amx_bf16": has_amx,  # every processor with tiles multiplies bf16 in them
        "amx_int8": has_amx,
    }


# Operators on lists of tensors: one call for all weights of a network, where a loop of calls would
# take longer than the work. torch documents most of them, as beta.


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source into the target at its place."""
    import torch

    torch._foreach_copy_(targets, sources)


def lerp_all(targets: list[Tensor], ends: list[Tensor], weight: float) -> None:
    """Move each target by a fraction of its distance to the end at its place."""
    import torch

    torch._foreach_lerp_(targets, ends, weight)


def norms(tensors: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor, of shape (len(tensors),)."""
    import torch

    return torch.stack(torch._foreach_norm(tensors))


def find_not_finite(tensors: list[Tensor], found: Tensor, one: Tensor) -> None:
    """Set `found`, of shape (1,), to 1 if a value of the tensors is infinite or not a number.

    It does not wait for the device. This is the kernel of torch's `GradScaler`, a third of the
    time of a norm.

    Args:
        tensors: float; each is multiplied by `one`.
        found: float32; kept as it is where all values are finite.
        one: float32 of shape (1,), the value 1.
    """
    import torch

    torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, one)


def storage_key(tensor: Tensor) -> int:
    """Return a number that tensors share if, and while, they share memory.

    The address of the data would do, but is 0 for every tensor on the meta device.
    """
    return int(tensor.untyped_storage()._cdata)


def operator_name(operator: Any) -> str:
    """Return the name of an operator without its overload: `convolution`, `torchvision::nms`."""
    packet = getattr(operator, "overloadpacket", None)
    if packet is None:  # of higher order
        return str(getattr(operator, "_name", operator))
    namespace, _, name = str(packet).partition(".")
    return name if namespace in ("aten", "prims") else f"{namespace}::{name}"


def overload_name(operator: Any) -> str:
    """Return which of an operator's overloads it is: `default`, `Tensor`."""
    return str(operator._overloadname)


def is_in_place(operator: Any) -> bool:
    """Return whether an operator writes to one of its arguments."""
    schema = getattr(operator, "_schema", None)  # operators of higher order have none
    return schema is not None and bool(schema.is_mutable)


@contextmanager
def fused_attention_on_meta() -> Iterator[None]:
    """Compute attention on meta by the operator that the CPU uses, much as GPUs do.

    By itself torch writes the matrices of attention out on meta, which no device does. It is the
    function itself that is replaced: a function mode of torch would not see the calls from within
    `multi_head_attention_forward`, and a dispatch mode sees only the parts.
    """
    import torch
    from torch.nn import functional

    attend = functional.scaled_dot_product_attention

    def attend_fused(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if (
            query.is_meta
            and query.dim() == 4
            and query.shape[-1] == value.shape[-1]
            and query.shape[:2] == key.shape[:2] == value.shape[:2]
            and attn_mask is None
            and not dropout_p
        ):
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            out: Tensor = fused(query, key, value, 0.0, is_causal, scale=scale)[0]
            return out
        return attend(
            query,
            key,
            value,
            attn_mask=attn_mask,
            dropout_p=dropout_p,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
        )

    functional.scaled_dot_product_attention = attend_fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = attend


@contextmanager
def without_onednn() -> Iterator[None]:
    """Compute on the CPU by torch's own kernels.

    The public `torch.backends.mkldnn.flags` sets the rounding of fp32 as well, and warns of it.
    """
    import torch

    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def lacks_compiler(error: BaseException) -> bool:
    """Return whether `torch.compile` failed because there is no C++ compiler.

    The error is wrapped in those of the parts of torch that it passed.
    """
    from torch._inductor.exc import InvalidCxxCompiler

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, InvalidCxxCompiler) or isinstance(
            getattr(link, "inner_exception", None), InvalidCxxCompiler
        ):
            return True
        link = link.__cause__ or link.__context__
    return False


@contextmanager
def many_compiled(number: int) -> Iterator[None]:
    """Let so many networks of one class be compiled; torch would run the ninth uncompiled.

    Where one is compiled again and again, for its shapes change, it is an error.
    """
    from torch._dynamo import config

    limits = (config.recompile_limit, config.fail_on_recompile_limit_hit)
    config.recompile_limit, config.fail_on_recompile_limit_hit = 8 + 4 * number, True
    try:
        yield
    finally:
        config.recompile_limit, config.fail_on_recompile_limit_hit = limits


def default_store() -> Any:
    """Return the key-value store that the processes of `torch.distributed` share."""
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


@contextmanager
def without_output_of_gloo() -> Iterator[None]:
    """Drop what C code writes to stdout in the block.

    Up to torch 2.10 gloo says there which processes it has found, in front of any answer.
    """
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def close_processes(agent: Any, seconds: int) -> None:
    """Ask the processes of an agent of torch to end, and kill those that have not after a while.

    Its own `_shutdown` takes no time to wait before torch 2.11.
    """
    if agent._pcontext:
        agent._pcontext.close(signal.SIGTERM, seconds)


def layer_versions(state: object) -> dict[str, Any] | None:
    """Return the versions of the layers that a state dictionary keeps, by the layer's name.

    `load_state_dict` brings the weights of older layers up to date by them.
    """
    versions = getattr(state, "_metadata", None)
    return versions if isinstance(versions, dict) else None


def set_layer_versions(state: Any, versions: dict[str, Any] | None) -> None:
    """Set what `layer_versions` returns."""
    state._metadata = versions


def uncompiled(network: nn.Module) -> nn.Module:
    """Return the network that `torch.compile` has wrapped, or the network itself."""
    inner: nn.Module = getattr(network, "_orig_mod", network)
    return inner


def dispatch_mode() -> type[Any]:
    """Return torch's base class of what sees every operator; documented, in a private module."""
    from torch.utils._python_dispatch import TorchDispatchMode

    return TorchDispatchMode


# Of torchvision's datasets, the lists of files that they read: the public ones decode every image
# again, one at a time, and hand it out as an object of Pillow.


def omniglot_drawings(dataset: Any) -> list[tuple[str, int]]:
    """Return the name and the character of every drawing of `torchvision.datasets.Omniglot`."""
    return list(dataset._flat_character_images)


def labelled_samples(dataset: Any) -> list[tuple[Any, int | None]]:
    """Return the samples of a dataset of torchvision, such as FER2013, with their labels."""
    return list(dataset._samples)


def pcam_files(dataset: Any) -> dict[str, Path]:
    """Return the HDF5 files of `torchvision.datasets.PCAM`: `images` and `targets`."""
    names = dataset._FILES[dataset._split]
    return {part: Path(dataset._base_folder) / name for part, (name, *_) in names.items()}


# Of Pillow, its decoders in C: parsing every marker of a file in Python takes a third of the time
# that a JPEG picture of 32 x 32 pixels costs.


def pillow_core() -> Any:
    """Return Pillow's part in C, `PIL._imaging`."""
    from PIL import Image

    return vars(Image)["core"]


def image_of_pixels(pixels: Any) -> Image.Image:
    """Return an image around pixels of `pillow_core`, which it shares."""
    from PIL import Image

    image: Image.Image = Image.Image()._new(pixels)
    return image


def set_raw_mode(image: ImageFile.ImageFile, raw_mode: str, mode: str | None = None) -> None:
    """Let an image that is not decoded yet be decoded as another one, byte by byte.

    Pillow has no mode for RGB with 16 bits per channel, and keeps the upper byte of each value.

    Args:
        image: the image of a PNG file.
        raw_mode: how the bytes of its pixels are taken.
        mode: that it is to have; its own where left out.
    """
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    if mode is not None:
        image._mode = mode
