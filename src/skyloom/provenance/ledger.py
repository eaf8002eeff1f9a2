"""Nothing is silently lost: a chain of steps per sample, and a row for every object that leaves it."""

from __future__ import annotations

from skyloom.errors import SkyloomError

LOST_COLUMNS = ("object_id", "row", "sample", "step", "reason", "detail")


def build_ledger(steps, lost):
    """Check and return the ledger table.

    `steps` is a DataFrame with sample, step, rows_in, rows_out in order; `lost` one row per object lost with
    `LOST_COLUMNS`. Within a sample rows_out of a step must be rows_in of the next, and each step's rows_lost
    must be its rows in `lost`; SkyloomError says got and expected otherwise.
    """
    steps = steps.copy()
    steps["rows_lost"] = steps["rows_in"] - steps["rows_out"]
    for sample, chain in steps.groupby("sample", sort=False):
        before = None
        for step in chain.itertuples():
            if before is not None and step.rows_in != before:
                raise SkyloomError(f"ledger: {sample}/{step.step} starts with {step.rows_in} rows, expected {before}")
            before = step.rows_out
            found = int(((lost["sample"] == sample) & (lost["step"] == step.step)).sum())
            if found != step.rows_lost:
                raise SkyloomError(f"ledger: {sample}/{step.step} lost {step.rows_lost} rows, "
                                   f"but lost.parquet names {found}")
    if int(steps["rows_lost"].sum()) != len(lost):
        raise SkyloomError(f"ledger: {int(steps['rows_lost'].sum())} rows lost, but lost.parquet has {len(lost)}")
    return steps[["sample", "step", "rows_in", "rows_out", "rows_lost"]]
