"""What this machine has as a table."""

from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.doctor import DoctorReport


@build_tables.register
def doctor_tables(report: DoctorReport) -> tuple[Table, ...]:
    """Return one row per finding; what to do is below."""
    columns = (
        Column("area", "area", "group"),
        Column("name", "what", "name"),
        Column("value", "found"),
    )
    notes = tuple(f"{one.name}: {one.advice}" for one in report.findings if one.advice)
    return (Table("doctor", "", columns, report.records().rows, notes),)
