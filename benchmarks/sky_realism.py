"""The embedded sky against published numbers: counts, n(z), colour against redshift. Writes docs/sky.png."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from skyloom.sky import population

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main():
    wide = population.in_region(1, (150.0, 150.5, 2.0, 2.5), (population.GALAXY_TIERS[0],))
    deep = population.in_region(1, (150.0, 150.1, 2.0, 2.1), population.GALAXY_TIERS)
    figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    limits = np.arange(19.0, 25.3, 0.5)
    area = {"wide": 900.0, "deep": 36.0}
    axes[0].semilogy(limits, 46 * 10 ** (0.31 * (limits - 25)), "k--", label="LSST Science Book, 46 x 10^0.31(i-25)")
    axes[0].semilogy(limits[limits <= 22.5], [np.sum(wide["i"] < m) / area["wide"] for m in limits[limits <= 22.5]], "o-",
                     label="sky, 900 arcmin$^2$")
    axes[0].semilogy(limits, [np.sum(deep["i"] < m) / area["deep"] for m in limits], "s-", label="sky, 36 arcmin$^2$")
    axes[0].set(xlabel="i", ylabel="galaxies per arcmin$^2$ brighter than i")
    axes[0].legend(fontsize=8)
    for limit, colour in ((22.0, "C0"), (24.0, "C1"), (25.0, "C2")):
        z = deep["z"][deep["i"] < limit]
        axes[1].hist(z, np.arange(0, 3.5, 0.1), density=True, histtype="step", color=colour, label=f"sky, i < {limit:g}")
        z0 = 0.0417 * limit - 0.744  # LSST Science Book, eq. 3.7
        grid = np.linspace(0, 3.5, 200)
        axes[1].plot(grid, grid**2 * np.exp(-grid / z0) / (2 * z0**3), "--", color=colour, lw=1)
    axes[1].set(xlabel="z", ylabel="p(z); dashed: LSST Science Book")
    axes[1].legend(fontsize=8)
    flux = wide["bulge"] + wide["disc"]
    colour = -2.5 * np.log10(flux[:, 0] / flux[:, 2])
    axes[2].plot(wide["z"][::3], colour[::3], ".", ms=1.5, alpha=0.4)
    axes[2].set(xlim=(0, 1.5), ylim=(-0.5, 4), xlabel="z", ylabel="g - i (i < 22.5)")
    figure.suptitle("Embedded sky: shows the software at work, not a survey's performance", fontsize=9)
    figure.savefig(DOCS / "sky.png", dpi=100)
    print("docs/sky.png")


if __name__ == "__main__":
    main()
