"""What other programs take for the stamps of a file that benchmarks/structure.py wrote; run by it with an interpreter that has
statmorph and pyimfit (which is GPL, hence a process of its own). Prints JSON: CPU ms an object of five bands."""

import json
import sys
import time
import warnings

import numpy as np


def of_statmorph(stamps, objects):
    """Non-parametric morphology and a single Sersic profile, band by band."""
    import statmorph

    for k in objects:
        for b in range(stamps["image"].shape[1]):
            sigma = 1 / np.sqrt(np.where(stamps["ivar"][k, b] > 0, stamps["ivar"][k, b], 1e-12))
            statmorph.source_morphology(stamps["image"][k, b], stamps["own"][k].astype(int), mask=stamps["lost"][k, b],
                                        weightmap=sigma, psf=stamps["psf"][k, b])


def of_imfit(stamps, objects):
    """A de Vaucouleurs bulge and an exponential disc with the PSF, band by band; returns the bands' total fluxes."""
    import pyimfit

    fluxes = []
    for k in objects:
        for b in range(stamps["image"].shape[1]):
            image, bad = stamps["image"][k, b], stamps["lost"][k, b]
            x, y, re = stamps["start"][k]
            light = max(float(np.where(bad, 0, image).sum()), 1.0)
            model = pyimfit.SimpleModelDescription()
            model.x0.setValue(x + 1, [x - 2, x + 4])
            model.y0.setValue(y + 1, [y - 2, y + 4])
            disk, bulge = pyimfit.make_imfit_function("Exponential"), pyimfit.make_imfit_function("Sersic")
            for part in (disk, bulge):
                part.PA.setValue(45, [-90, 270])
                part.ell.setValue(0.3, [0, 0.9])
            disk.I_0.setValue(light / (4 * np.pi * (re / 1.678) ** 2), [0, 1e7])
            disk.h.setValue(re / 1.678, [0.2, 25])
            bulge.n.setValue(4, fixed=True)
            bulge.I_e.setValue(light / (4 * np.pi * re**2 * 7.2), [0, 1e7])
            bulge.r_e.setValue(re / 2, [0.2, 25])
            for part in (disk, bulge):
                model.addFunction(part)
            fitter = pyimfit.Imfit(model, psf=np.ascontiguousarray(stamps["psf"][k, b], float), maxThreads=1)
            sigma = 1 / np.sqrt(np.where(stamps["ivar"][k, b] > 0, stamps["ivar"][k, b], 1e-12))
            fitter.fit(np.ascontiguousarray(image, float), error=sigma.astype(float), mask=bad, verbose=-1)
            fluxes.append(float(fitter.getModelFluxes()[0]))
    return fluxes


def main(path, objects=3):
    warnings.simplefilter("ignore")
    with np.load(path) as found:
        stamps = {name: found[name] for name in found}
    out, some = {}, np.linspace(0, len(stamps["image"]) - 1, objects).astype(int)
    for name, work in (("statmorph", of_statmorph), ("pyimfit", of_imfit)):
        try:
            started = time.process_time()
            found = work(stamps, some)
            out[name] = (time.process_time() - started) / len(some) * 1e3
            if found:
                out["pyimfit_i_fluxes"] = dict(zip(map(int, some), found[2::stamps["image"].shape[1]], strict=True))
        except ImportError as error:
            print(error, file=sys.stderr)
    print(json.dumps(out))


if __name__ == "__main__":
    main(sys.argv[1])
