"""Packed columns with measured structure, for tests: rings and bulges that tell the redshift, magnitudes that hardly do."""

import numpy as np

from skyloom import store


def columns(n, seed, bands="gri", prefixes=("",), structure=True):
    """{column: values} of n objects; three rings a band."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.1, 0.9, n)
    out = {"object_id": np.arange(n), "specz_redshift": z, "split": np.full(n, "training", object),
           "subset": np.full(n, "select", object)}
    error, pairs = 0.5, [(1, 2), (1, 3), (2, 3)]
    for prefix in prefixes:
        for k, band in enumerate(bands):
            name = f"{prefix}{band}"
            out[f"{name}_mag"] = 21 - 0.3 * k + 0.3 * z + rng.normal(0, 0.3, n)
            out[f"{name}_magerr"] = np.full(n, 0.05)
            if not structure:
                continue
            shares = np.stack([0.2 + 0.3 * z, 0.5 - 0.3 * z, np.full(n, 0.3)], axis=1)
            flux = 100 * (1 + k) * shares + error * rng.standard_normal((n, 3))
            for j in range(3):
                out |= {f"{name}_annulus_flux_{j + 1}": flux[:, j], f"{name}_annulus_flux_err_{j + 1}": np.full(n, error)}
            out |= {f"{name}_annulus_cov_{i}_{j}": np.zeros(n) for i, j in pairs}
            out |= {f"{name}_bulge_flux": 100 * z + rng.standard_normal(n), f"{name}_disk_flux": np.full(n, 100.0)}
            out |= {f"{name}_{part}_flux_err": np.ones(n) for part in ("bulge", "disk")}
            out[f"{name}_bulge_disk_cov"] = np.full(n, -0.5)
        if structure:
            out |= {f"{prefix}{part}_re": rng.uniform(0.3, 1, n) for part in ("bulge", "disk")}
            out |= {f"{prefix}{part}_re_err": np.full(n, 0.05) for part in ("bulge", "disk")}
            out[f"{prefix}disk_q"] = rng.uniform(0.3, 1, n)
    return out


def write(path, n, seed, **how):
    """The same as a packed file."""
    made = columns(n, seed, **how)
    store.write_columns(path, made, {"magnitude_columns": ",".join(name for name in made if name.endswith("_mag"))})
