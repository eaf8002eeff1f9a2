"""Figures of a run: each takes arrays and a path, and draws one thing, whatever the arrays hold. Verbs call them by `drawn`."""

from __future__ import annotations

import functools
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.errors import disk_is_full

NOTE = "embedded sky: shows the software at work, not a survey's performance"


def drawn(function, path, *arguments) -> None:
    """`function(*arguments, path)` as a file that appears whole; in place of a figure that can't be drawn stands a picture of the
    reason, so that no run ends for want of a figure."""
    with store.replacing(path) as temporary:
        try:
            function(*arguments, temporary)
        except Exception as error:  # whatever the drawing library, its fonts or its folders raise
            if disk_is_full(error):
                raise
            reason = f"{type(error).__name__}: {error}"
            print(f"the figure {Path(path).name} could not be drawn ({reason})", file=sys.stderr)
            _placeholder(f"{Path(path).name} could not be drawn\n{reason[:400]}", temporary)


def _placeholder(text: str, path) -> None:
    """The text as a picture; without a drawing library a grey one that holds it as its comment."""
    try:
        plt = _pyplot()
        plt.close("all")
        figure = plt.figure(figsize=(6, 2))
        figure.text(0.05, 0.5, _text(text), va="center", wrap=True)
        _save(figure, path)
    except Exception:  # the same library that has just failed
        chunks = (b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0), b"tEXtComment\0" + text.encode("latin-1", "replace"),
                  b"IDAT" + zlib.compress((b"\0" + b"\xaa" * 8) * 8), b"IEND")
        body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
        Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@functools.cache
def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def _save(figure, path) -> None:
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
    _pyplot().close(figure)


def _text(name) -> str:
    """A name as a label: a dollar sign begins no formula, a first underscore doesn't hide it from the legend."""
    text = str(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _legend(axes, **options) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def _span(z, least: float, share: float, margin: float) -> tuple[float, float]:
    """(low, high) of a redshift axis: from 0, or below where redshifts lie there, to `least` or what `share` percent of z reach,
    with a margin."""
    z = z[np.isfinite(z)]
    if not len(z):
        return 0.0, least or 1.0
    low = min(0.0, float(np.percentile(z, 100 - share)) * margin)
    high = max(least, float(np.percentile(z, share)) * margin)
    return low, high if high > low else low + 1.0


def _outside(axes, x, y, low: float, high: float) -> None:
    """Say how many points the axes don't show."""
    missed = int(np.sum((np.minimum(x, y) < low) | (np.maximum(x, y) > high)))
    if missed:
        axes.text(0.98, 0.02, f"{missed} outside the axes", transform=axes.transAxes, ha="right", fontsize=7, color="0.4")


def z_against_z(z_phot, z_spec, model: str, path) -> None:
    """z_phot against z_spec with the 0.15 (1 + z) outlier lines."""
    figure, axes = _pyplot().subplots(figsize=(5, 5), layout="constrained")
    good = np.isfinite(z_phot) & np.isfinite(z_spec)
    low, top = _span(z_spec[good], 1.0, 99.5, 1.1)
    line = np.array([low, top])
    axes.plot(line, line, "k-", lw=1)
    for sign in (1, -1):
        axes.plot(line, line + sign * 0.15 * (1 + line), "k:", lw=1)
    axes.plot(z_spec[good], z_phot[good], ".", ms=3, alpha=0.5)
    outliers = np.mean(np.abs(z_phot[good] - z_spec[good]) > 0.15 * (1 + z_spec[good])) if good.any() else np.nan
    _outside(axes, z_spec[good], z_phot[good], low, top)
    axes.set(xlim=(low, top), ylim=(low, top), xlabel="$z_{spec}$", ylabel="$z_{phot}$",
             title=f"{_text(model)}, testing: {good.sum()} objects, {100 * outliers:.1f} % outliers")
    _save(figure, path)


def pit(values: dict, path) -> None:
    """PIT histograms and, below, how far their quantiles lie from a uniform distribution's, of {model: PIT (n,)}."""
    figure, (top, bottom) = _pyplot().subplots(2, 1, figsize=(6, 6), layout="constrained")
    levels = np.linspace(0, 1, 101)
    for model, u in values.items():
        u = u[np.isfinite(u)]
        if len(u):
            top.hist(u, bins=20, range=(0, 1), density=True, histtype="step", label=_text(model))
            bottom.plot(levels, np.quantile(u, levels) - levels)
    top.axhline(1, color="k", lw=1)
    bottom.axhline(0, color="k", lw=1)
    top.set(xlabel="PIT", ylabel="density", xlim=(0, 1))
    bottom.set(xlabel="level", ylabel="PIT quantile - level", xlim=(0, 1))
    _legend(top, fontsize=7)
    if not values:
        top.text(0.5, 0.5, "no model of this run gives p(z)", ha="center")
    _save(figure, path)


def regions(z_phot, z_spec, low, high, model: str, path, shown: int = 60) -> None:
    """z_phot against z_spec as a density, and the 90 % regions (low to high) of some objects drawn at random from a fixed
    seed (Mantis Shrimp's Fig. 7)."""
    from matplotlib.colors import LogNorm

    good = np.isfinite(z_phot) & np.isfinite(z_spec)
    z_phot, z_spec, low, high = z_phot[good], z_spec[good], low[good], high[good]
    figure, axes = _pyplot().subplots(figsize=(5.6, 5), layout="constrained")
    bottom, top = _span(z_spec, 0.5, 99.8, 1.05)
    line = np.array([bottom, top])
    seen = (np.minimum(z_spec, z_phot) >= bottom) & (np.maximum(z_spec, z_phot) <= top)
    if seen.any():
        image = axes.hexbin(z_spec[seen], z_phot[seen], gridsize=45, extent=(bottom, top, bottom, top), mincnt=1, cmap="Greys",
                            norm=LogNorm(vmin=0.3))
        figure.colorbar(image, ax=axes, label="objects")
    if len(z_spec):
        chosen = np.random.default_rng(0).permutation(len(z_spec))[:shown]
        sizes = np.clip(np.stack([z_phot - low, high - z_phot])[:, chosen], 0, None)
        axes.errorbar(z_spec[chosen], z_phot[chosen], sizes, fmt=".", color="C0", ms=4, lw=0.8, alpha=0.8,
                      label=f"90 % regions of {len(chosen)} objects")
        axes.legend(fontsize=8, loc="upper left")
    _outside(axes, z_spec, z_phot, bottom, top)
    inside = np.mean((z_spec >= low) & (z_spec <= high)) if len(z_spec) else np.nan
    axes.plot(line, line, "C3-", lw=1)
    axes.set(xlim=(bottom, top), ylim=(bottom, top), xlabel="$z_{spec}$", ylabel="$z_{phot}$ (mean of p(z))",
             title=f"{_text(model)}, testing: {len(z_spec)} objects, {100 * inside:.0f} % inside their 90 % region")
    axes.title.set_fontsize(9)
    _save(figure, path)


def attribution(frame, path) -> None:
    """Mean Shapley value (left) and MM-SHAP (right) of every band in bins of z_spec, a row a model (Mantis Shrimp's Fig. 8).

    `frame`: model, survey, band, z_min, z_max, n, shapley, shapley_err, mm_shap, mm_shap_err.
    """
    models = list(dict.fromkeys(frame["model"]))
    figure, axes = _pyplot().subplots(max(len(models), 1), 2, figsize=(10, 3.4 * max(len(models), 1)), layout="constrained",
                                      squeeze=False, sharex=True)
    bands = list(dict.fromkeys(zip(frame["survey"], frame["band"], strict=True)))
    colours = _pyplot().get_cmap("turbo")(np.linspace(0.05, 0.95, len(bands)))
    for line, model in enumerate(models):
        for colour, (survey, band) in zip(colours, bands, strict=True):
            part = frame[(frame["model"] == model) & (frame["survey"] == survey) & (frame["band"] == band)]
            middle = (part["z_min"] + part["z_max"]) / 2
            for axis, name in zip(axes[line], ("shapley", "mm_shap"), strict=True):
                axis.errorbar(middle, part[name], part[f"{name}_err"], fmt="o-", ms=3, lw=1, capsize=2, color=colour,
                              label=_text(f"{survey} {band}"))
        axes[line, 0].axhline(0, color="0.7", lw=0.8)
        axes[line, 0].set(ylabel=f"{_text(model)}\nmean Shapley value / z")
        axes[line, 1].set(ylabel="mean MM-SHAP")
    _legend(axes[0, 1], fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    for axis in axes[-1]:
        axis.set_xlabel("$z_{spec}$")
    _save(figure, path)


def binned_metrics(frame, path) -> None:
    """Bias, scatter, outlier fraction and loss in bins of z_spec for every model (GalaxiesML's Fig. 6); shaded: what LSST asks
    for (LSST Science Book 2009: bias 0.003, scatter 0.02, both of dz / (1 + z), 10 % outliers)."""
    wanted = (("bias", "mean(1+z)|mean"), ("scatter", "1.48mad_unscaled|mean"), ("outlier_fraction", "0.15|mean"),
              ("loss", "eq1,gamma=0.15|mean"))
    figure, axes = _pyplot().subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    rows = frame[(frame["seed"] == "ensemble") & (frame["z_min"] != "")]
    for axis, (metric, convention) in zip(axes.flat, wanted, strict=True):
        for shift, model in enumerate(sorted(rows["model"].unique())):
            part = rows[(rows["model"] == model) & (rows["metric"] == metric) & (rows["convention"] == convention)]
            part = part[part["n"] >= 5]
            middle = (part["z_min"].astype(float) + part["z_max"].astype(float)) / 2 + 0.01 * shift
            errors = np.abs(np.stack([part["value"] - part["lo68"], part["hi68"] - part["value"]]).astype(float))
            axis.errorbar(middle, part["value"], errors, fmt="o-", ms=3, capsize=2, label=_text(model))
        axis.set(ylabel=f"{metric}\n{convention}")
        axis.axhline(0, color="0.7", lw=0.8)
        asked = {"bias": 0.003, "scatter": 0.02, "outlier_fraction": 0.10}.get(metric)
        if asked and len(rows):
            z = np.array([rows["z_min"].astype(float).min(), rows["z_max"].astype(float).max()])
            high = asked * (1 + z) if "unscaled" in convention else np.full(2, asked)
            axis.fill_between(z, -high if metric == "bias" else 0 * high, high, color="0.85", zorder=0)
    _legend(axes[0, 0], fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("$z_{spec}$ (bins with at least 5 objects)")
    _save(figure, path)


def cuts(frame, path) -> None:
    """NMAD and outliers against the kept fraction, of the rows of `zphot.cuts` with their `subset`: cuts on flags crosses, on the
    width a line."""
    figure, panels = _pyplot().subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    told = ((("nmad 1.4826mad(1+z)", "NMAD", "C0"),), (("outlier_fraction 0.05", "beyond 0.05", "C1"),
                                                       ("outlier_fraction 0.15", "beyond 0.15", "C3")))
    for axes, lines in zip(panels, told, strict=True):
        for (subset, part), style in zip(frame.groupby("subset", sort=False), ("-", "--"), strict=False):
            narrow = part[part["cut"].str.startswith("unflagged")].sort_values("kept")
            for column, name, colour in lines:
                axes.plot(narrow["kept"], narrow[column], f"{colour}.{style}", label=_text(f"{name}, {subset}"))
                rest = part.drop(narrow.index)
                axes.plot(rest["kept"], rest[column], f"{colour}x", ms=5)
        axes.set(xlabel="kept fraction (x: all, or without one flag)", ylim=(0, None))
        _legend(axes, fontsize=7)
    panels[0].set_ylabel("NMAD of (1 + z)")
    panels[1].set_ylabel("share of outliers")
    _save(figure, path)


def redshift_histogram(samples: dict[str, np.ndarray], path) -> None:
    """n(z) of named sets of redshifts."""
    figure, axes = _pyplot().subplots(figsize=(6, 3.5), layout="constrained")
    spans = [_span(z, 0.0, 99.5, 1.0) for z in samples.values() if np.isfinite(z).any()] or [(0.0, 1.0)]
    bins = np.linspace(min(low for low, _ in spans), max(high for _, high in spans), 41)
    for name, z in samples.items():
        axes.hist(z[np.isfinite(z)], bins, histtype="step", label=_text(f"{name} ({np.isfinite(z).sum()})"))
    axes.set(xlabel="z", ylabel="objects")
    _legend(axes, fontsize=8)
    _save(figure, path)


def sky_map(ra, dec, split, path) -> None:
    """Positions (deg) by split; RA runs on across 0, so that a field there is one field."""
    figure, axes = _pyplot().subplots(figsize=(6, 5.5), layout="constrained")
    known = np.isfinite(ra) & np.isfinite(dec)
    ra, dec, split = ra[known], dec[known], np.asarray(split)[known]
    middle = np.degrees(np.angle(np.exp(1j * np.radians(ra)).sum())) % 360 if len(ra) else 0.0
    ra = (ra - middle + 180) % 360 - 180 + middle
    for name in dict.fromkeys(split):
        inside = split == name
        axes.plot(ra[inside], dec[inside], ".", ms=2.5, label=_text(f"{name} ({inside.sum()})"))
    axes.invert_xaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value % 360:.10g}")
    axes.set(xlabel="ra / deg", ylabel="dec / deg", aspect=1 / max(np.cos(np.radians(dec.mean())), 0.05) if len(dec) else 1)
    _legend(axes, fontsize=8, loc="upper right")
    _save(figure, path)


def _window(image, low: float, high: float) -> tuple[float, float]:
    """Two percentiles of an image's finite pixels, the second above the first."""
    values = image[np.isfinite(image)]
    bottom, top = np.percentile(values, (low, high)) if len(values) else (0.0, 1.0)
    return bottom, max(top, bottom + 1e-6)


def stamps_over_redshift(images, z, path) -> None:
    """Stamps (m, y, x) in order of z, linear above and logarithmic below (GalaxiesML's Fig. 1)."""
    count = max(len(images), 1)
    figure, axes = _pyplot().subplots(2, count, figsize=(1.5 * count, 3.4), layout="constrained", squeeze=False)
    for k, (image, redshift) in enumerate(zip(images, z, strict=True)):
        low, high = _window(image, 5, 99.8)
        axes[0, k].imshow(image, origin="lower", cmap="gray", vmin=low, vmax=high)
        values = image[np.isfinite(image)]
        sigma = max(1.4826 * np.median(np.abs(values - np.median(values))), 1e-6) if len(values) else 1.0
        axes[1, k].imshow(np.log10(np.clip(image / sigma + 2, 0.5, None)), origin="lower", cmap="gray")
        axes[0, k].set_title(f"z = {redshift:.2f}", fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    _save(figure, path)


def morphology_overlay(image, row: dict, zero_point_label: str, path) -> None:
    """One stamp with the target's isophotal ellipse, half-light radius and numbers (GalaxiesML's Fig. 3)."""
    from matplotlib.patches import Circle, Ellipse

    figure, axes = _pyplot().subplots(figsize=(4.5, 4.8), layout="constrained")
    low, high = _window(image, 5, 99.5)
    axes.imshow(image, origin="lower", cmap="gray", vmin=low, vmax=high)
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    for scale in (1, 3):
        axes.add_patch(Ellipse(centre, 2 * scale * row["major_axis"], 2 * scale * row["minor_axis"], angle=row["pos_angle"],
                               fill=False, color="C1", lw=1))
    axes.add_patch(Circle(centre, row["half_light_radius"], fill=False, color="C0", ls="--"))
    axes.set(xticks=[], yticks=[], title=f"{_text(zero_point_label)}\narea {row['isophotal_area']:.0f} px, ellipticity "
             f"{row['ellipticity']:.2f}, n {row['sersic_index']:.2f}")
    axes.title.set_fontsize(9)
    _save(figure, path)


def losses(histories: dict[str, np.ndarray], path) -> None:
    """Training and selection loss over epochs of every model and seed: arrays (epochs, 3); a likelihood's may be negative."""
    figure, axes = _pyplot().subplots(figsize=(6, 3.5), layout="constrained")
    for k, (name, rows) in enumerate(histories.items()):
        axes.plot(rows[:, 0], rows[:, 1], f"C{k}-", lw=1, label=_text(f"{name} training"))
        axes.plot(rows[:, 0], rows[:, 2], f"C{k}--", lw=1, label=_text(f"{name} select"))
    values = np.concatenate([np.ravel(rows[:, 1:]) for rows in histories.values()] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    axes.set(xlabel="epoch", ylabel="loss", yscale="log" if len(values) and values.min() > 0 else "linear")
    _legend(axes, fontsize=7)
    _save(figure, path)
