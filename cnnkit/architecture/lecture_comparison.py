"""The printed comparison of networks, and what its operations column contains."""

import csv
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.resources import files

from cnnkit.results import PrintedCount, Totals

_FOLDER = files("cnnkit.architecture") / "published"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


def printed_figures(
    totals: Mapping[str, Totals], count: Callable[[str, Mapping[str, str]], Totals]
) -> tuple[PrintedCount, ...]:
    """Return what the printed operations of some networks really are, in the order of the print.

    Args:
        totals: costs of one image at the native input, by name of the network; those that are not
            printed are left out.
        count: returns the same of a network with arguments.
    """
    rows = {row["network"]: row for row in _read_rows()}
    figures = []
    for origin in tomllib.loads((_FOLDER / "comparison.toml").read_text("utf-8"))["figure"]:
        model, counted, arguments = origin["model"], origin["counted"], origin.get("arguments", {})
        if model not in totals:
            continue
        row, own = rows[origin["network"]], totals[model]
        known = counted in totals and not arguments
        macs = (totals[counted] if known else count(counted, arguments)).macs
        figures.append(
            PrintedCount(
                network=origin["network"],
                model=model,
                printed_flop=row["flop"],
                printed=int(_number(row["flop"])),
                counted=counted,
                arguments=arguments,
                unit=origin["unit"],
                macs=macs,
                value=2 * macs if origin["unit"] == "FLOPs" else macs,
                model_macs=own.macs,
                printed_params=row["params"],
                model_params=own.params,
                params_agree=_agrees(row["params"], own.params),
            )
        )
    return tuple(figures)


def _read_rows() -> list[dict[str, str]]:
    return list(csv.DictReader((_FOLDER / "comparison.csv").read_text("utf-8").splitlines()))


def _number(text: str) -> Decimal:
    """Return `1.5B` or `62M` as a number."""
    printed, unit = _split(text)
    return printed * unit


def _agrees(text: str, number: int) -> bool:
    """Return whether a number, rounded to the digits that are printed, is what is printed."""
    printed, unit = _split(text)
    return (Decimal(number) / unit).quantize(printed) == printed


def _split(text: str) -> tuple[Decimal, int]:
    """Return what is printed as its digits and its unit: 1.5 and 10^9 for `1.5B`."""
    letter = text[-1] if text[-1].isalpha() else ""
    return Decimal(text.removesuffix(letter)), _UNITS[letter.upper()]
