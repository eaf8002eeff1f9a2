"""A part of the sky: a box that may cross RA 0 or hold a pole, or a circle. One type for queries, cuts, plans and footprints.

All angles in deg (ICRS), RA growing eastward; a box may be given as [350, 10, ...], [-10, 10, ...] or [350, 370, ...].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from skyloom.errors import InputError

WHAT = "[ra_min, ra_max, dec_min, dec_max] or a circle {ra, dec, radius}, in degrees"
WIDEST = 180.0  # deg: a box written backwards (150.5 to 150) is more likely a slip than nearly the whole sky
GRID = 0.02  # deg between the points that stand for a region in a plan
POINTS = 500_000  # beyond so many of them they lie further apart
EDGE = 1e-9  # deg: how far rounding may carry a position that stands on an edge


@dataclass(frozen=True)
class Region:
    """The box from RA `west` (0 <= west < 360) eastward over `width` (360 = all) between two declinations; with `radius` the
    box around the circle of that radius about `centre`, and the circle alone counts."""

    west: float
    width: float
    dec_min: float
    dec_max: float
    centre: tuple[float, float] = (0.0, 0.0)
    radius: float | None = None

    def contains(self, ra, dec):
        """Mask of the positions inside, edges included; False where a coordinate is no number. A pole has no RA."""
        import numpy as np

        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        with np.errstate(invalid="ignore"):
            if self.radius is not None:
                return separation(ra, dec, *self.centre) <= self.radius + EDGE
            around = (((ra - self.west) % 360 <= self.width + EDGE) | (np.abs(dec) == 90)) & np.isfinite(ra)
        return around & (dec >= self.dec_min - EDGE) & (dec <= self.dec_max + EDGE)

    def area_deg2(self) -> float:
        """Solid angle in deg^2."""
        if self.radius is not None:
            return 2 * math.pi * (1 - math.cos(math.radians(self.radius))) * math.degrees(1) ** 2
        low, high = (math.sin(math.radians(dec)) for dec in (self.dec_min, self.dec_max))
        return self.width * (high - low) * math.degrees(1)

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """(ra_min, ra_max, dec_min, dec_max) of the one or two plain boxes, 0 <= RA <= 360, that cover the region."""
        east = round(self.west + self.width, 9)
        if self.width >= 360:
            return [(0.0, 360.0, self.dec_min, self.dec_max)]
        if east <= 360:
            return [(self.west, east, self.dec_min, self.dec_max)]
        return [(self.west, 360.0, self.dec_min, self.dec_max), (0.0, round(east - 360, 9), self.dec_min, self.dec_max)]

    def between(self, ra: str, dec: str) -> str:
        """A condition on columns that every SQL and ADQL knows; a circle is asked for by the box around it."""
        low, high = self.dec_min, self.dec_max
        if self.width >= 360:
            return f"{dec} BETWEEN {low!r} AND {high!r}"
        parts = [f"{ra} BETWEEN {first!r} AND {last!r}" for first, last, _, _ in self.boxes()]
        around = parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"
        return f"{around} AND {dec} BETWEEN {low!r} AND {high!r}"

    def search(self, column: str = "coord") -> str:
        """The same with the functions of HSC's archive: coneSearch, or one boxSearch or two."""
        if self.radius is not None:
            return f"coneSearch({column}, {self.centre[0]!r}, {self.centre[1]!r}, {round(self.radius * 3600, 6)!r})"
        parts = [f"boxSearch({column}, {', '.join(map(repr, box))})" for box in self.boxes()]
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def grid(self, step: float = GRID, widest: float = math.inf):
        """(ra, dec, deg^2 that each stands for) of points spread over the region and along its edge.

        They are `step` apart in RA (coordinate) and Dec; up to `widest` in a region that would have more than `POINTS` points.
        """
        import numpy as np

        step = max(step, min(widest, math.sqrt(self.width * (self.dec_max - self.dec_min) / POINTS)))
        dec, ra = np.mgrid[self.dec_min:self.dec_max + step / 2:step, self.west:self.west + self.width + step / 2:step]
        ra, dec = ra.ravel() % 360, np.clip(dec.ravel(), -90, 90)
        area = step**2 * np.cos(np.radians(dec))
        inside, edge = self.contains(ra, dec) | (self.radius is None), self._edge(step)
        return (np.concatenate([ra[inside], edge[0]]), np.concatenate([dec[inside], edge[1]]),
                np.concatenate([area[inside], np.zeros(len(edge[0]))]))

    def _edge(self, step: float):
        """(ra, dec) of points along the edge, and of a circle's centre."""
        import numpy as np

        if self.radius is not None:
            turn = np.linspace(0, 2 * np.pi, max(64, int(8 * self.radius / step)))
            r, d = np.radians([self.radius, self.centre[1]])
            lat = np.arcsin(np.clip(np.sin(d) * np.cos(r) + np.cos(d) * np.sin(r) * np.cos(turn), -1, 1))
            lon = np.arctan2(np.sin(turn) * np.sin(r) * np.cos(d), np.cos(r) - np.sin(d) * np.sin(lat))
            return np.append(self.centre[0] + np.degrees(lon), self.centre[0]) % 360, np.append(np.degrees(lat), self.centre[1])
        along = self.west + np.linspace(0, self.width, 2 + int(self.width / step))
        up = np.linspace(self.dec_min, self.dec_max, 2 + int((self.dec_max - self.dec_min) / step))
        ra = np.concatenate([along, along, 0 * up + self.west, 0 * up + self.west + self.width])
        return ra % 360, np.concatenate([0 * along + self.dec_min, 0 * along + self.dec_max, up, up])


def of(value, what: str = "`query.region`") -> Region | None:
    """The region that a config names: four numbers a box, three a circle, or a mapping {ra, dec, radius}; None for None.

    InputError with `what` in front for anything else, an empty box, or a box that may have been written backwards.
    """
    if value is None or isinstance(value, Region):
        return value
    if isinstance(value, dict):
        if set(value) != {"ra", "dec", "radius"}:
            raise InputError(f"{what} is {value}; it must be {WHAT}")
        value = [value["ra"], value["dec"], value["radius"]]
    numbers = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(numbers) != len(value) or len(numbers) not in (3, 4):
        raise InputError(f"{what} is {value}; it must be {WHAT}")
    return _circle(numbers, what) if len(numbers) == 3 else _box(numbers, what)


def _box(numbers, what) -> Region:
    ra_min, ra_max, dec_min, dec_max = map(float, numbers)
    if not -90 <= dec_min < dec_max <= 90:
        raise InputError(f"{what} is {numbers}; its declinations must rise from dec_min to dec_max within -90 ... 90 in {WHAT}")
    if not all(-360 <= ra <= 720 for ra in (ra_min, ra_max)) or ra_min == ra_max:
        raise InputError(f"{what} is {numbers}; its RAs must be two within -360 ... 720 in {WHAT}")
    width = ra_max - ra_min
    if width < 0:
        width %= 360
        if not 0 < width <= WIDEST:
            raise InputError(f"{what} is {numbers}, which goes {width:g} deg eastward from RA {ra_min:g}; write "
                             f"[{ra_max:g}, {ra_min:g}, ...], or [{ra_min:g}, {ra_min + width:g}, ...] if that is meant")
    return Region(ra_min % 360, min(width, 360.0), dec_min, dec_max)


def _circle(numbers, what) -> Region:
    ra, dec, radius = map(float, numbers)
    if not (-360 <= ra <= 720 and -90 <= dec <= 90 and 0 < radius <= 180):
        raise InputError(f"{what} is {numbers}; a circle is RA, Dec within -90 ... 90 and a radius above 0, in degrees")
    low, high = max(dec - radius, -90.0), min(dec + radius, 90.0)
    west, width = 0.0, 360.0
    if low > -90 and high < 90:  # no pole inside
        half = math.degrees(math.asin(min(1.0, math.sin(math.radians(radius)) / math.cos(math.radians(dec)))))
        west, width = (ra - half) % 360, 2 * half
    return Region(west, width, low, high, (ra % 360, dec), radius)


def separation(ra, dec, ra0, dec0):
    """Great-circle distances in deg (haversine formula, sound at any distance from 0 to 180)."""
    import numpy as np

    a, d, a0, d0 = (np.radians(np.asarray(v, float)) for v in (ra, dec, ra0, dec0))
    h = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin((a - a0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0, 1))))

