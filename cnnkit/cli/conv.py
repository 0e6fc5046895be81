"""`cnnkit conv`: the arithmetic of a convolution or pooling, by hand."""

from enum import StrEnum
from typing import Annotated

import typer

from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.errors import UsageError, setting
from cnnkit.system.shapes import parse_sizes

COST_PANEL = "Parameters and MACs"
STACK_PANEL = "Several convolutions"
MATRIX_PANEL = "A small matrix"


class Pool(StrEnum):
    """Which pooling."""

    MAX = "max"
    AVG = "avg"


@with_output
def conv(
    output: Output,
    size: Annotated[
        str | None,
        typer.Argument(
            help="Input size: 227, or 227x300 for height and width.",
            show_default=False,
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(metavar="K|HxW", help="Kernel size: 3, or 3x5.", show_default=False),
    ] = None,
    stride: Annotated[
        str | None,
        typer.Option(
            metavar="S|HxW",
            help=with_default("Distance between windows.", "1; the kernel size for pooling"),
            show_default=False,
        ),
    ] = None,
    padding: Annotated[
        str | None,
        typer.Option(
            metavar="P|HxW", help=with_default("Padding on each side.", "0"), show_default=False
        ),
    ] = None,
    dilation: Annotated[
        str | None,
        typer.Option(
            metavar="D|HxW",
            help=with_default("Spacing between kernel elements.", "1"),
            show_default=False,
        ),
    ] = None,
    same: Annotated[
        bool, typer.Option("--same", help="Choose the padding that keeps the size.")
    ] = False,
    pool: Annotated[
        Pool | None, typer.Option(help="Pooling instead of a convolution.", show_default=False)
    ] = None,
    ceil: Annotated[
        bool,
        typer.Option("--ceil", help="Round the size up, as ceil_mode of PyTorch's poolings."),
    ] = False,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Transposed convolution.")
    ] = False,
    output_padding: Annotated[
        str | None,
        typer.Option(
            metavar="P|HxW",
            help=with_default("Size added to one side of the transposed output.", "0"),
            show_default=False,
        ),
    ] = None,
    in_channels: Annotated[
        int | None,
        typer.Option(help="Channels of the input.", show_default=False, rich_help_panel=COST_PANEL),
    ] = None,
    out_channels: Annotated[
        int | None,
        typer.Option(
            help=with_default(
                "Channels of the output.", "those of the input for pooling and --stack"
            ),
            show_default=False,
            rich_help_panel=COST_PANEL,
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(
            help=with_default("Number of groups of channels.", "1"),
            show_default=False,
            rich_help_panel=COST_PANEL,
        ),
    ] = None,
    no_bias: Annotated[
        bool,
        typer.Option("--no-bias", help="No bias.", rich_help_panel=COST_PANEL),
    ] = False,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="K,K,...",
            help="Kernels one after another, 3,3,3; a stride as 3s2, a dilation as 3d2.",
            show_default=False,
            rich_help_panel=STACK_PANEL,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS",
            help='Input matrix: "0 1 0 0; 1 1 1 0", a semicolon between rows.',
            show_default=False,
            rich_help_panel=MATRIX_PANEL,
        ),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS",
            help="Kernel matrix, likewise.",
            show_default=False,
            rich_help_panel=MATRIX_PANEL,
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Show how each output is computed.", rich_help_panel=MATRIX_PANEL
        ),
    ] = False,
) -> None:
    """Compute a convolution by hand: `cnnkit conv 227 --kernel 11`.

    The output size with its formula, parameters, MACs and receptive field; what stacked
    convolutions save; and a kernel that slides over a small matrix, sum by sum.
    """
    from cnnkit.architecture.conv import conv as compute

    result = compute(
        _parse_size("size", size),
        kernel=_parse_size("kernel", kernel),
        stride=_parse_size("stride", stride),
        padding=_parse_size("padding", padding),
        dilation=_parse_size("dilation", dilation),
        same=same,
        pool=None if pool is None else pool.value,
        ceil=ceil,
        transposed=transposed,
        output_padding=_parse_size("output_padding", output_padding),
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        bias=not no_bias,
        stack=stack,
        image=image,
        weight=weight,
        show=show,
    )
    output.emit(result)


def _parse_size(name: str, text: str | None) -> int | tuple[int, int] | None:
    """Return `3` as a number, and `3x5` as height and width.

    Raises:
        UsageError: the text is neither.
    """
    if text is None:
        return None
    sizes = parse_sizes(text)
    if len(sizes) not in (1, 2):
        hint = "write one number such as 3, or HxW as 3x5"
        raise UsageError(f"{setting(name)} {text!r} is no size", hint)
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])
