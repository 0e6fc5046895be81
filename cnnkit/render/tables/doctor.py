"""What this machine has as a table."""

from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.doctor import DoctorReport


@build_tables.register
def doctor_tables(report: DoctorReport) -> tuple[Table, ...]:
    """Return a row a finding; what to do stands below."""
    columns = (
        Column("area", "area", "group"),
        Column("name", "what", "name"),
        Column("value", "found"),
    )
    notes = tuple(f"{one.name}: {one.advice}" for one in report.findings if one.advice)
    return (Table("doctor", "", columns, report.records().rows, notes),)
