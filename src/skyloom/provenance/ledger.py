"""Nothing is silently lost: a chain of steps per sample, and a row for every object that leaves it."""

from __future__ import annotations

from skyloom.errors import SkyloomError

LOST_COLUMNS = ("object_id", "row", "sample", "step", "reason", "detail")


def lost(frame, step: str, reason, detail=None):
    """One row with `LOST_COLUMNS` for every row of a frame (object_id, row, sample); reason and detail are a text or (n,)."""
    import pandas

    out = pandas.DataFrame({"object_id": frame["object_id"], "row": frame["row"], "sample": frame["sample"],
                            "step": step, "reason": reason, "detail": "" if detail is None else detail})
    return out[list(LOST_COLUMNS)]


def chained(samples: list[dict], later):
    """(ledger, every lost row) from the archives' counts to the catalog.

    A sample: its name `sample`, the rows `asked` for as the archive counts them, those that came (`raw`), the frame of those
    `rejected` by the cuts (object_id, row, cut, value), the rows that the cuts `kept`. `later`: who was lost after that, with
    `LOST_COLUMNS`. SkyloomError where it doesn't add up.
    """
    import pandas

    steps, gone = [], []
    for one in samples:
        name, rejected, kept = one["sample"], one["rejected"], one["kept"]
        steps += [(name, "query", one["asked"], one["raw"]), (name, "cut", one["raw"], one["raw"] - len(rejected))]
        gone.append(lost(rejected.assign(sample=name), "cut", rejected["cut"], rejected["value"]))
        for step in ("cutouts", "assign_splits"):
            fell = int(((later["sample"] == name) & (later["step"] == step)).sum())
            steps.append((name, step, kept, kept - fell))
            kept -= fell
    frame = pandas.DataFrame(steps, columns=["sample", "step", "rows_in", "rows_out"])
    together = pandas.concat([*gone, later], ignore_index=True)
    return build_ledger(frame, together), together


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
