"""`cnnkit bench`: how fast networks are here."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from cnnkit.cli.options import (
    AllowLarge,
    DataDir,
    RunsDir,
    SkipBad,
    TrustCode,
    Workers,
    complete_dataset,
    complete_model,
    parse_arguments,
)
from cnnkit.cli.output import Output, check_writable, with_default, with_output
from cnnkit.errors import ExitCode, UsageError
from cnnkit.events import Note, Warned, emit
from cnnkit.system.shapes import parse_image_shape

COMPARE = "compare"
NETWORK_PANEL = "Network"
MEASURE_PANEL = "Measurement"
FILES_PANEL = "Files"


@partial(with_output, suffixes=(".jsonl",))
def bench(
    output: Output,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Networks, timm:NAME, FILE.py:FACTORY or runs; or `compare A B`.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            envvar="CNNKIT_DEVICE",
            show_envvar=False,
            metavar="NAME,...",
            help="cpu, cuda, cuda:N, mps, xpu, a list, or all (CNNKIT_DEVICE).",
        ),
    ] = "all",
    mode: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="infer, train, or both.",
        ),
    ] = "infer,train",
    batch: Annotated[
        str | None,
        typer.Option(
            "-b",
            "--batch-size",
            "--batch",
            metavar="N,...",
            help=with_default(
                "Images per batch, a list, or auto: the largest that fits.",
                "by network and device",
            ),
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="fp32, tf32, bf16, fp16, or a list.",
        ),
    ] = "fp32",
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="channels-first, channels-last, or both.",
        ),
    ] = "channels-first",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="Compile with torch.compile.",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = False,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help=with_default("CPU threads, or a list.", "as torch"),
            show_default=False,
        ),
    ] = None,
    input: Annotated[  # noqa: A002  # the word for it
        list[str] | None,
        typer.Option(
            help=with_default(
                "Input shape CxHxW, or one number; once per input.",
                "the network's own",
            ),
            show_default=False,
        ),
    ] = None,
    num_classes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=with_default("Number of logits.", "as published"),
            show_default=False,
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = None,
    model_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Argument of the networks, such as hidden=512,128; repeatable.",
            show_default=False,
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = None,
    max_seconds: Annotated[
        float,
        typer.Option(
            help="Longest time per configuration.",
        ),
    ] = 8.0,
    by_layer: Annotated[
        bool,
        typer.Option(
            "--by-layer",
            help="Time each layer, too, beside its share of MACs.",
            rich_help_panel=MEASURE_PANEL,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Measure loading, the network and both; name the bottleneck.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    time_to: Annotated[
        float | None,
        typer.Option(
            metavar="ACCURACY",
            help="Time training until this accuracy, such as 0.99.",
            show_default=False,
            rich_help_panel=MEASURE_PANEL,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Recipe of --time-to, by name or file.",
            show_default=False,
            rich_help_panel=MEASURE_PANEL,
        ),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(
            help="Training runs of --time-to, each with its own seed.",
            rich_help_panel=MEASURE_PANEL,
        ),
    ] = 10,
    peak: Annotated[
        bool,
        typer.Option(
            "--peak",
            help="Measure the peaks of the machine again; without a network, only these.",
            rich_help_panel=MEASURE_PANEL,
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare with an earlier -o FILE; exit with 6 if slower.",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            help="Fraction by which a configuration may be slower.",
            rich_help_panel=FILES_PANEL,
        ),
    ] = 0.05,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Plot images per second by batch size (.png, .svg, .pdf).",
            show_default=False,
            rich_help_panel=FILES_PANEL,
        ),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    skip_bad: SkipBad = False,
    allow_large: AllowLarge = False,
    workers: Workers = None,
    trust_code: TrustCode = False,
) -> None:
    """Measure how fast networks are here: `cnnkit bench resnet18`.

    Images per second and milliseconds per batch with their spread, memory, and the fraction of the
    machine's peak. Every combination of the settings is a row. `cnnkit bench compare A B` compares
    two files of results.
    """
    names = models or []
    if names[:1] == [COMPARE]:
        _compare(output, names[1:], tolerance)
        return
    if time_to is not None:
        given = {"--peak": peak, "--against": against, "--plot": plot, "--by-layer": by_layer}
        _refuse("--time-to", given)
        _time_to(
            output, time_to, recipe, runs, names, data, device, data_dir, workers, allow_large,
            trust_code,
        )  # fmt: skip
        return
    if recipe is not None:
        raise UsageError("--recipe belongs to --time-to", "such as --time-to 0.99 --recipe FILE")
    sweep_values = {
        "devices": _listed("--device", device),
        "modes": _listed("--mode", mode),
        "batch_sizes": _batch_sizes(batch),
        "precisions": _listed("--precision", precision),
        "layouts": _listed("--layout", layout),
        "compiled": compiled,
        "threads": _numbers("--threads", threads) if threads is not None else (),
    }
    arguments = parse_arguments(model_arg or [])
    if plot is not None:
        _check_plot(plot)
    for name in names:
        from cnnkit.models import find_model

        if not (runs_dir / name).is_dir() and not Path(name).is_dir():
            find_model(name)  # before torch is imported

    from cnnkit.bench.sweep import Sweep

    sweep = Sweep(**sweep_values)  # type: ignore[arg-type]  # each has the type of its field
    if data is not None:
        from cnnkit.bench.pipeline import benchmark_pipeline

        given = {"--peak": peak, "--against": against, "--plot": plot, "--by-layer": by_layer}
        _refuse("--data", {**given, "--num-classes": num_classes})
        if input is not None and len(input) > 1:
            raise UsageError("--data has one input, the image", "give --input once")
        pipeline = benchmark_pipeline(
            names,
            data,
            sweep,
            input=parse_image_shape(input[0]) if input else None,
            arguments=arguments,
            max_seconds=max_seconds,
            data_dir=data_dir,
            num_workers=workers,
            skip_bad=skip_bad,
            allow_large=allow_large,
        )
        output.emit(pipeline)
        return

    from cnnkit.bench.measure_speed import benchmark
    from cnnkit.bench.peaks import default_cache

    result = benchmark(
        names,
        sweep,
        input=input,
        num_classes=num_classes,
        arguments=arguments,
        max_seconds=max_seconds,
        by_layer=by_layer,
        remeasure_peaks=peak,
        peaks_file=default_cache(),
        against=against,
        tolerance=tolerance,
        runs_dir=runs_dir,
        trust_code=trust_code,
    )
    if result.interrupted and output.is_json():
        raise typer.Exit(ExitCode.INTERRUPTED)  # stdout is one document, that of the error
    output.emit(result, lines=result.lines())
    if plot is not None and not result.interrupted:
        from cnnkit.render.plots.throughput import draw_throughput
        from cnnkit.system.files import write_bytes

        write_bytes(plot, draw_throughput(result, plot.suffix.lower()))
        emit(Note(f"wrote {plot}"))
    if result.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if result.cells and all(cell.batch_ms_median is None for cell in result.cells):
        emit(Warned("no configuration was measured"))
        raise typer.Exit(ExitCode.RUN_FAILED)
    if result.against is not None and result.against.regressions:
        number = len(result.against.regressions)
        emit(
            Warned(
                f"--against {against}: slower, or failed: {number} of "
                f"{len(result.against.changes)} configurations"
            )
        )
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _time_to(
    output: Output,
    target: float,
    recipe: str | None,
    runs: int,
    names: list[str],
    dataset: str | None,
    device: str,
    data_dir: Path | None,
    workers: int | None,
    allow_large: bool,
    trust_code: bool,
) -> None:
    if recipe is None:
        raise UsageError("--time-to needs a --recipe", "name a recipe, or a file of settings")
    if len(names) > 1:
        raise UsageError(f"--time-to trains one network, not {len(names)}", "name one")
    from cnnkit.bench.time_to import time_to_accuracy

    result = time_to_accuracy(
        target,
        recipe,
        num_runs=runs,
        model=names[0] if names else None,
        dataset=dataset,
        device="auto" if device == "all" else device,
        data_dir=data_dir,
        num_workers=workers,
        allow_large=allow_large,
        trust_code=trust_code,
    )
    output.emit(result)
    if result.mean_seconds is None:
        raise typer.Exit(ExitCode.RUN_FAILED)


def _refuse(option: str, others: Mapping[str, object]) -> None:
    for name, value in others.items():
        if value not in (None, False):
            raise UsageError(f"{name} has no meaning with {option}", "leave one out")


def _compare(output: Output, files: list[str], tolerance: float) -> None:
    if len(files) != 2:
        raise UsageError(
            f"`compare` takes two files, not {len(files)}",
            "such as `cnnkit bench compare before.jsonl now.jsonl`",
        )
    from cnnkit.bench.compare_results import compare_files

    result = compare_files(files[0], files[1], tolerance)
    output.emit(result)
    if result.regressions:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _check_plot(plot: Path) -> None:
    from cnnkit.render.plots.style import PICTURE_SUFFIXES

    if plot.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(
            f"--plot {plot}: {plot.suffix or 'no suffix'} is not an image format",
            f"end it with {', '.join(PICTURE_SUFFIXES)}",
        )
    check_writable(plot, "--plot")


def _listed(option: str, text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise UsageError(f"{option} {text!r} names nothing between two commas", "leave one out")
    return parts


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = _listed(option, text)
    for part in parts:
        if not part.lstrip("-").isdecimal():
            raise UsageError(f"{option} {part!r} is not a number", f"such as {option} 1,2")
    return tuple(map(int, parts))


def _batch_sizes(text: str | None) -> tuple[int | Literal["auto"], ...]:
    if text is None:
        return ()
    sizes: list[int | Literal["auto"]] = []
    for part in _listed("--batch", text):
        if part == "auto":
            sizes.append("auto")
        else:
            sizes += _numbers("--batch", part)
    return tuple(sizes)
