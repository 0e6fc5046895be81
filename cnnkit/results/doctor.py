"""The result of `doctor`: what this machine has, and what it lacks."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Records, Result


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: `versions`, `devices`, `processor`, `folders`, `extras`.
        name: what was looked at.
        value: what was found.
        advice: how to get what is missing; empty where nothing is.
    """

    area: str
    name: str
    value: str
    advice: str = ""


@dataclass(frozen=True)
class DoctorReport(Result):
    """The result of `doctor`."""

    schema: ClassVar[str] = "cnnkit.doctor/1"

    findings: tuple[Finding, ...]

    def records(self) -> Records:
        """Return one row per finding."""
        return Records.of(self.findings, ("area", "name", "value"))
