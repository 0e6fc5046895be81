"""Parsing of the mean and standard deviation to normalize with; imports no torch."""

import math
import re
from dataclasses import dataclass
from typing import Self

from cnnkit.errors import setting
from cnnkit.registry import did_you_mean

NORMALIZE_WORDS = ("auto", "published", "measured", "none")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
FORM = "write MEAN/STD, such as 0.5, 0.1307/0.3081 or 0.4914,0.4822,0.4465/0.2470,0.2435,0.2616"
MIN_STD = 1e-6


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation to normalize with, on the scale 0..1.

    Attributes:
        mean: one value for every channel, or one a channel.
        std: likewise.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the values of a text such as `0.5`, `0.5/0.25` or `0.4,0.5,0.6/0.2,0.2,0.3`.

        One number is both mean and standard deviation.

        Raises:
            ValueError: it has another form, or a value is out of range; the message follows the
            name of the setting.
        """
        parts = text.split("/")
        if len(parts) > 2:
            raise ValueError(f"has {len(parts)} parts between slashes; {FORM}")
        mean, std = _numbers(parts[0]), _numbers(parts[-1])
        if len(parts) == 1 and len(mean) > 1:
            raise ValueError(f"has {len(mean)} means and no std; {FORM}")
        for name, values in (("means", mean), ("stds", std)):
            if len(values) not in (1, 3):
                raise ValueError(
                    f"has {len(values)} {name}; give one for all channels, or three for red, green "
                    "and blue"
                )
        for value in std:
            if value <= 0:
                raise ValueError(
                    f"has a std of {value:g}, but it must be above "
                    "0; use none to leave pixels unchanged"
                )
            if value < MIN_STD:
                raise ValueError(f"has a std of {value:g}, but it must be at least {MIN_STD:g}")
        for name, value in [("mean", one) for one in mean] + [("std", one) for one in std]:
            if not 0 <= value <= 1:
                raise ValueError(
                    f"has a {name} of {value:g}, and pixels are from 0 to 1: divide it by 255 if "
                    "it is on the scale 0 to 255"
                )
        return cls(mean, std)

    def for_channels(self, channels: int) -> Self:
        """Return the values with one for each channel.

        Raises:
            ValueError: there are values for another number of channels.
        """
        for name, values in (("means", self.mean), ("stds", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(
                    f"has {len(values)} {name}, and the input has {channels} "
                    f"channel{'' if channels == 1 else 's'}"
                )
        mean, std = (one * (channels // len(one)) for one in (self.mean, self.std))
        return type(self)(mean, std)

    def __str__(self) -> str:
        mean, std = (",".join(map(_shortest, one)) for one in (self.mean, self.std))
        return mean if mean == std and len(self.mean) == 1 else f"{mean}/{std}"


def _numbers(text: str) -> tuple[float, ...]:
    values = []
    for part in text.split(","):
        written = part.strip()
        value = float(written) if NUMBER.fullmatch(written) else math.nan
        if not math.isfinite(value):
            raise ValueError(f"has {written!r} instead of a number; {FORM}")
        values.append(value)
    return tuple(values)


def _shortest(value: float) -> str:
    """Return the shortest text that is read as the same number."""
    return repr(value + 0.0).removesuffix(".0")


def normalize_text(text: str) -> str:
    """Return the canonical text of `normalize`: a word, or the shortest form of its numbers.

    Raises:
        ValueError: it is neither; the message names the setting.
    """
    written = text.strip()
    if written in NORMALIZE_WORDS:
        return written
    if not any(character.isdigit() for character in written):
        close = did_you_mean(written, NORMALIZE_WORDS)
        words = ", ".join(NORMALIZE_WORDS)
        raise ValueError(
            f"{setting('normalize')} must be {words} or numbers such as 0.5/0.25, not {text!r}"
            + (f"; {close}" if close else "")
        )
    try:
        return str(MeanStd.parse(written))
    except ValueError as error:
        raise ValueError(f"{setting('normalize')} {text} {error}") from error
