"""Sections of the report page: which redshift to use, example stamps."""

from __future__ import annotations

import html
import json

import numpy as np

from skyloom import store, textfiles
from skyloom.release import figures, report, zphot

_CANDIDATES = {"model": "model", "cde_loss": "CDE loss", "cde_above": "above the chosen [95 %]", "pit_ks": "PIT-KS",
               "pit_worse": "above its best rival's [95 %]", "n": "objects"}


def z_phot(paths, folder) -> list[tuple[str, str]]:
    """Which model stands for z_phot and why, a row a candidate, and what cuts on its flags and widths buy.

    `paths`: of the choice and its cuts (verb choose-z-phot), of the same cuts on testing (evaluate); none where nobody stands.
    """
    import pandas

    title = "One redshift to use"
    if not paths:
        return [(title, f"<p>No model stands for z_phot: {html.escape(zphot.NOBODY)}.</p>")]
    told = json.loads(textfiles.read(paths[0]))
    rows = pandas.concat([pandas.read_csv(path) for path in paths[1:]], ignore_index=True)
    calibrated = f", calibrated by {told['calibration']}" if told["calibration"] != "none" else ""
    kinds = "; ".join(f"{float(level):.0%}: {kind}" for level, kind in told["intervals"].items())
    text = (f"<p><b>z_phot is the median of p(z) of {html.escape(told['model'] + calibrated)}</b>: {html.escape(told['why'])}. "
            f"Intervals: {html.escape(kinds)}.</p>")
    if told["candidates"]:
        text += report.table(_candidates(told["candidates"]))
    figures.drawn(figures.cuts, folder / "cuts.png", rows)
    text += report.figure(folder / "cuts.png", "What is gained by keeping fewer: flagged objects dropped, then the widest 68 % "
                                               "intervals; width = their length over 1 + z")
    return [(title, text + _recommended(rows))]


def _candidates(rows: list[dict]):
    """The table of candidates, best first."""
    import pandas

    def between(row, value, low, high):
        parts = [row[name] for name in (value, low, high)]
        return "n/a" if None in parts else "{:.4f} [{:.4f}, {:.4f}]".format(*parts)

    out = [{"model": row["model"], "cde_loss": row["cde_loss"], "pit_ks": row["pit_ks"], "n": row["n"],
            "cde_above": between(row, "cde_above_chosen", "cde_above_lo95", "cde_above_hi95"),
            "pit_worse": between(row, "pit_worse", "pit_worse_lo95", "pit_worse_hi95")} for row in rows]
    return pandas.DataFrame(out, columns=list(_CANDIDATES)).rename(columns=_CANDIDATES).fillna(np.nan)


def _recommended(rows) -> str:
    """The cuts of the one sample with those of testing beside them; cuts were chosen on the former."""
    first, beside = (part.reset_index(drop=True) for _, part in rows.groupby("subset", sort=False))
    import pandas

    wide = {"cut": first["cut"]}
    names = {"kept": "kept", "n": "objects", "nmad 1.4826mad(1+z)": "NMAD", "outlier_fraction 0.05": "beyond 0.05",
             "outlier_fraction 0.15": "beyond 0.15"}
    for part in (first, beside):
        wide |= {f"{name} ({part['subset'][0]})": part[column] for column, name in names.items()}
    note = f"Limits were taken on {first['subset'][0]}; the same cuts on testing stand beside them. Flags: z_phot_flags."
    return report.table(pandas.DataFrame(wide)) + f"<p>{note}</p>"


def stamps(path, folder) -> list[tuple[str, str]]:
    """Example stamps over redshift, and the morphology of one of them."""
    with store.reading(path) as handle:
        z, bands = handle["specz_redshift"][:], handle.attrs["bands"].split(",")
        b = bands.index("i") if "i" in bands else 0
        good = np.flatnonzero((handle["status"][:, b] == 0) & np.isfinite(z))
        if not len(good):
            return []
        order = good[np.argsort(z[good])]
        chosen = order[np.unique(np.linspace(0, len(order) - 1, 7).astype(int))]
        images = [handle["image"][int(k), b] for k in chosen]
        figures.drawn(figures.stamps_over_redshift, folder / "stamps.png", images, z[chosen])
        text = report.figure(folder / "stamps.png", f"{bands[b]} stamps over redshift, linear above, logarithmic below")
        text += _overlay(handle, bands[b], b, good, folder)
    return [("Stamps", text)]


def _overlay(handle, band, b, good, folder) -> str:
    """The largest well-measured galaxy with its ellipse."""
    names = ("isophotal_area", "ellipticity", "sersic_index", "major_axis", "minor_axis", "pos_angle", "half_light_radius")
    table = {name: handle[f"{band}_{name}"][:] for name in names}
    whole = np.all([np.isfinite(table[name]) for name in names], axis=0)
    whole &= handle[f"{band}_morphology_flags"][:] == 0
    use = np.intersect1d(good, np.flatnonzero(whole))
    if not len(use):
        return ""
    k = int(use[np.argmax(table["isophotal_area"][use])])
    figures.drawn(figures.morphology_overlay, folder / "overlay.png", handle["image"][k, b],
                  {name: table[name][k] for name in names}, f"object {handle['object_id'][k]}, {band}")
    return report.figure(folder / "overlay.png", "Isophotal ellipse (1 and 3 times) and half-light radius")
