"""What the embedded sky's truth says each band is worth for the redshift, beside what a model does with it.

    python docs/make_physics.py results/mantis_shrimp_10k mantis_late   # docs/physics_{run}.{csv,png}

Truth: the sky's own templates (type 0 to 3, E(B-V) 0.1), scaled to the i magnitude of each testing object; Fisher information
on (z, magnitude, type, dust) from every band's flux with the errors measured in the run and 0.05 mag of SED scatter; priors of
1 mag on the magnitude, 1 on the type, 0.1 on the dust. A band's worth is the share of the information on z (1 / sigma_z^2,
the others marginalised) that is lost without it.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas

from skyloom import store
from skyloom.sky import seds

matplotlib.use("Agg")
from matplotlib import pyplot

DOCS = Path(__file__).resolve().parent
SURVEYS = ("galex", "ps1", "unwise")
SCATTER, PRIOR = 0.05, np.diag([1 / 1.0**2, 1.0, 1.0, 1 / 0.1**2])  # z itself: 1, so that nothing is singular
STEPS = np.array([0.005, 0.01, 0.02, 0.01])


def magnitudes(z, kind, dust):
    """(n, 9) template magnitudes in all bands, to an additive constant."""
    return np.concatenate([seds.magnitudes(kind, dust, z, survey)[:, :-1] for survey in SURVEYS], axis=1)


def information(z, i, errors, bands) -> np.ndarray:
    """(n, 10) information on z with all bands, then without each one; z, i (n,), errors (9,) in nJy."""
    out = np.zeros((len(z), len(bands) + 1))
    for kind in (0.0, 1.0, 2.0, 3.0):
        types, dust = np.full(len(z), kind + 1e-3), np.full(len(z), 0.1)
        base = magnitudes(z, types, dust)
        shift = i - base[:, bands.index(("ps1", "i"))]
        flux = 10 ** (-0.4 * (base + shift[:, None] - 31.4))
        slope = np.stack([(magnitudes(z + STEPS[0], types, dust) - base) / STEPS[0], np.ones_like(base),
                          (magnitudes(z, types + STEPS[2], dust) - base) / STEPS[2],
                          (magnitudes(z, types, dust + STEPS[3]) - base) / STEPS[3]], axis=2) * (-0.921 * flux[:, :, None])
        weight = 1 / (errors**2 + (0.921 * SCATTER * flux) ** 2)
        terms = slope[:, :, :, None] * slope[:, :, None, :] * weight[:, :, None, None]
        whole = terms.sum(axis=1) + PRIOR
        for k in range(len(bands) + 1):
            fisher = whole - (terms[:, k - 1] if k else 0)
            out[:, k] += 1 / np.linalg.inv(fisher)[:, 0, 0] / 4
    return out


def main(folder: Path, model: str) -> None:
    columns = store.columns(folder / "dataset" / "multi_testing.hdf5")
    shapley = pandas.read_csv(folder / "evaluation" / "attribution.csv").query("model == @model")
    bands = list(dict.fromkeys(zip(shapley["survey"], shapley["band"], strict=True)))
    errors = np.array([np.nanmedian(columns[f"{survey}_{band}_flux_err"]) for survey, band in bands])
    good = (columns["ps1_i_detected"] == 1) & np.isfinite(columns["ps1_i_mag"]) & (columns["specz_redshift"] < 1.59)
    z, i = columns["specz_redshift"][good], columns["ps1_i_mag"][good]
    info = information(z, i, errors, bands)
    lost = 1 - info[:, 1:] / info[:, :1]
    rows = []
    for (low, high), part in shapley.groupby(["z_min", "z_max"]):
        inside = (z >= low) & (z < high)
        for k, (survey, band) in enumerate(bands):
            one = part[(part["survey"] == survey) & (part["band"] == band)]
            rows.append({"z_min": low, "z_max": high, "survey": survey, "band": band, "n_truth": int(inside.sum()),
                         "information_lost": lost[inside, k].mean() if inside.any() else np.nan,
                         "mm_shap": one["mm_shap"].item(), "mm_shap_err": one["mm_shap_err"].item(),
                         "shapley": one["shapley"].item(), "n_model": int(one["n"].item())})
    frame = pandas.DataFrame(rows)
    store.write_csv(DOCS / f"physics_{folder.name}.csv", frame)
    draw(frame, bands, model, folder.name)


def draw(frame, bands, model, name) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharex=True)
    colours = pyplot.get_cmap("turbo")(np.linspace(0.05, 0.95, len(bands)))
    for colour, (survey, band) in zip(colours, bands, strict=True):
        part = frame[(frame["survey"] == survey) & (frame["band"] == band)]
        middle = (part["z_min"] + part["z_max"]) / 2
        axes[0].plot(middle, part["information_lost"], "o-", ms=3, color=colour, label=f"{survey} {band}")
        axes[1].errorbar(middle, part["mm_shap"], part["mm_shap_err"], fmt="o-", ms=3, lw=1, color=colour)
    axes[0].set(ylabel="share of the information on z\nlost without the band", xlabel="$z_{spec}$", title="the sky's truth")
    axes[1].set(ylabel="mean MM-SHAP", xlabel="$z_{spec}$", title=model)
    axes[0].legend(fontsize=7, ncols=2)
    figure.savefig(DOCS / f"physics_{name}.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
