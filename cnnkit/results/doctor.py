"""What this machine has, and what it lacks."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Result
from cnnkit.results.table import Column, Table


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
    """The answer of `doctor`."""

    schema: ClassVar[str] = "cnnkit.doctor/1"

    findings: tuple[Finding, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return a row a finding; what to do stands below."""
        columns = (
            Column("area", "area", "group"),
            Column("name", "what", "name"),
            Column("value", "found"),
        )
        rows = [(finding.area, finding.name, finding.value) for finding in self.findings]
        notes = tuple(f"{f.name}: {f.advice}" for f in self.findings if f.advice)
        return (Table("doctor", "", columns, tuple(rows), notes),)
