"""Tiles of the embedded sky with their truth, made in memory and written by the contract of scenes and labels."""

import h5py
import numpy as np

from skyloom.sky import geometry, hsc, population, render


def make(stem, count: int, ra: float, side: int = 256, seed: int = 1):
    """[[tiles], [labels]] files of `count` tiles along a line of right ascension, HSC's bands and depth, white noise."""
    sky, rng = hsc.Sky(seed=seed, footprint=(0.0, 360.0, -1.0, 5.0), hole_rate=0.0), np.random.default_rng(seed)
    sigma, level = (np.array([of(b) for b in hsc.BANDS], np.float32)[:, None, None] for of in (hsc.sky_sigma, hsc.sky_level))
    rows, values, image, ivar, width, offset = [], [], [], [], [], 0
    for tile in range(count):
        light, stamps, fwhms = _scene(sky, ra + 0.013 * tile, side, sigma)
        variance = sigma**2 * (1 + np.maximum(light, 0) / level)
        image.append(light + rng.standard_normal(light.shape) * np.sqrt(variance))
        ivar.append(1 / variance)
        width.append(np.array(fwhms) * hsc.SCALE)
        for row, stamp in stamps:
            rows.append(row | {"tile": tile, "stamp_offset": offset})
            values.append(stamp.ravel())
            offset += stamp.size
    with h5py.File(f"{stem}_scenes.h5", "w") as out:
        out["image"], out["ivar"], out["psf_fwhm"] = np.array(image, "f4"), np.array(ivar, "f4"), np.array(width)
        out.attrs.update(bands=",".join(hsc.BANDS), pixel_scale=hsc.SCALE, unit="nJy")
    with h5py.File(f"{stem}_labels.h5", "w") as out:
        for name in rows[0]:
            out[name] = np.array([row[name] for row in rows])
        out["stamp_values"] = np.concatenate(values)
    return [[f"{stem}_scenes.h5"], [f"{stem}_labels.h5"]]


def _scene(sky, ra: float, side: int, sigma):
    """(light (band, y, x), [(label, stamp)], PSF widths in px) of the tile at (ra, 2)."""
    tract = geometry.tract_of(ra, 2.0)
    centre = geometry.tract_centre(tract)
    x0, y0 = (int(v) for v in hsc.pixel_of(tract, ra, 2.0))
    fwhms = [round(hsc.seeing(sky, tract, b) / hsc.SCALE, 4) for b in hsc.BANDS]
    half = (side - 1) / 2
    at = geometry.deproject(*centre, -(x0 + half) * hsc.SCALE, (y0 + half) * hsc.SCALE)
    source = population.near(sky.seed, float(at[0]), float(at[1]), side / 2 * hsc.SCALE * 1.42)
    x, y = hsc.pixel_of(tract, source["ra"], source["dec"])
    sizes = render.stamp_sizes(source, sigma[:, 0, 0], fwhms, hsc.SCALE)
    light, stamps = np.zeros((len(fwhms), side, side), np.float32), []
    for k in range(len(x)):
        n, gx, gy = int(sizes[k]), int(np.floor(x[k] + 0.5)), int(np.floor(y[k] + 0.5))
        left, low = gx - n // 2 - x0, gy - n // 2 - y0
        x1, x2, y1, y2 = max(left, 0), min(left + n, side), max(low, 0), min(low + n, side)
        if x2 <= x1 or y2 <= y1:
            continue
        drawn = render.stamp(n, source, k, x[k] - gx, y[k] - gy, fwhms, hsc.SCALE)
        part = drawn[:, y1 - low:y2 - low, x1 - left:x2 - left]
        light[:, y1:y2, x1:x2] += part
        star = source["kind"][k] == 1
        stamps.append(({"x": x[k] - x0, "y": y[k] - y0, "is_star": int(star), "flux": source["disc"][k] + source["bulge"][k],
                        "half_light_radius": source["re_disc"][k], "redshift": source["z"][k], "stamp_x0": x1, "stamp_y0": y1,
                        "snr": np.sqrt((drawn**2).sum(axis=(1, 2))) / sigma[:, 0, 0], "stamp_w": x2 - x1, "stamp_h": y2 - y1},
                       (part / sigma).sum(axis=0)))
    return light, stamps, fwhms
