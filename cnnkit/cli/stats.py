"""`cnnkit stats`: what a dataset looks like."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import AllowLarge, DataDir, Workers, complete_dataset
from cnnkit.cli.output import Output, check_writable, with_default, with_output
from cnnkit.cli.processes import is_first
from cnnkit.errors import ExitCode, UsageError
from cnnkit.events import Note, Warned, emit
from cnnkit.render import ShownStats
from cnnkit.results import DatasetStatistics
from cnnkit.system.files import write_bytes

MERGE = "merge"
FILES_PANEL = "Files and parts"
MEASURE_PANEL = "Measurement"


class WeightingName(StrEnum):
    """pixel or image: what has equal weight."""

    PIXEL = "pixel"
    IMAGE = "image"


@with_output
def stats(
    output: Output,
    dataset: Annotated[
        str,
        typer.Argument(
            help="A name, folder, archive or shards ('d-{000..127}.tar'); or `merge`.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ],
    parts: Annotated[
        list[Path] | None,
        typer.Argument(help="After `merge`: the files of all parts.", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help=with_default("A split, or all.", "train where there are splits, else all"),
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Estimate from a sample of N images.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Chooses the sample.", rich_help_panel=MEASURE_PANEL)
    ] = 0,
    transform: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="Transform images first, such as resize=256,crop=224.",
            show_default=False,
        ),
    ] = None,
    weighting: Annotated[
        WeightingName,
        typer.Option(help="pixel or image: what has equal weight.", rich_help_panel=MEASURE_PANEL),
    ] = WeightingName.PIXEL,
    labels_only: Annotated[
        bool,
        typer.Option("--labels-only", help="Count only the classes."),
    ] = False,
    by_class: Annotated[
        bool,
        typer.Option("--by-class", help="Show mean and std of each class."),
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates",
            help="Find duplicate images, within and across splits.",
        ),
    ] = False,
    issues: Annotated[
        bool,
        typer.Option(
            "--issues",
            help="Find blank, very dark, very bright and blurred images.",
        ),
    ] = False,
    allow_large: AllowLarge = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 6 if files are bad."),
    ] = False,
    data_dir: DataDir = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DATASET",
            help="Compare with a saved file or another dataset.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the histograms to this file.",
            show_default=False,
            rich_help_panel=FILES_PANEL,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Plot histograms, classes and sizes.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Measure only one of N parts, such as 3/8.",
            show_default=False,
            rich_help_panel=FILES_PANEL,
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache",
            help="Cache what was found in each file.",
            rich_help_panel=FILES_PANEL,
        ),
    ] = False,
    workers: Workers = None,
) -> None:
    """Measure a dataset exactly: `cnnkit stats mnist`.

    Mean and std of each channel with the line to paste, classes, sizes, modes, and broken
    files. `cnnkit stats merge part*.json` adds up parts that were measured with `--shard`.
    """
    if dataset != MERGE and parts:
        raise UsageError(
            f"there is one dataset too many: {str(parts[0])!r}",
            "`cnnkit stats merge FILES` merges parts",
        )
    _check_files(save, plot)
    # Under torchrun every rank has the answer, and the first one gives it.
    speaks = is_first()
    if dataset == MERGE:
        _refuse_for_merge(
            {
                "--split": split,
                "--limit": limit,
                "--transform": transform,
                "--labels-only": labels_only,
                "--duplicates": duplicates,
                "--issues": issues,
                "--shard": shard,
                "--cache": cache,
            }
        )
        from cnnkit.stats import merge_parts

        result = merge_parts(
            parts or [],
            weighting=weighting.value,
            save_to=save,
            against=against,
            allow_large=allow_large,
            data_dir=data_dir,
            num_workers=workers,
        )
    else:
        from cnnkit.stats import measure_dataset
        from cnnkit.stats.counting.cache import default_cache

        result = measure_dataset(
            dataset,
            split=split,
            weighting=weighting.value,
            transform=transform,
            labels_only=labels_only,
            limit=limit,
            seed=seed,
            allow_large=allow_large,
            duplicates=duplicates,
            issues=issues,
            shard=_parse_shard(shard),
            save_to=save,
            against=against,
            cache=default_cache() if cache else None,
            data_dir=data_dir,
            num_workers=workers,
        )
    if speaks:
        output.emit(ShownStats(result, by_class))
        if plot is not None:
            _draw(result, plot)
            emit(Note(f"wrote {plot}"))
    if strict and result.bad_files:
        emit(Warned(f"--strict: {len(result.bad_files):,} bad files"))
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _check_files(save: Path | None, plot: Path | None) -> None:
    """Refuse files that could not be written, before the work is done."""
    if save is not None:
        check_writable(save, "--save")
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UsageError(f"--plot {plot} is no .png file", "name one that ends with .png")
        check_writable(plot, "--plot")


def _draw(result: DatasetStatistics, plot: Path) -> None:
    """Write the picture of a result.

    Raises:
        UnavailableError: it cannot be written.
    """
    from cnnkit.render.plots.overview import stats_picture

    write_bytes(plot, stats_picture(result))


def _parse_shard(text: str | None) -> tuple[int, int] | None:
    """Return `3/8` as two numbers.

    Raises:
        UsageError: the text is no such shard.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text!r} names no part", "such as --shard 3/8, from 1 to 8")
    return int(match[1]), int(match[2])


def _refuse_for_merge(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise UsageError(
            f"{given[0]} has no meaning for `merge`",
            "give it when a part is measured; a folder called merge is ./merge",
        )
