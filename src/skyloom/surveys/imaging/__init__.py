"""REGISTRY of imaging surveys: every module here holds a `SURVEY`; other packages add theirs by the entry point
`skyloom.imaging`. A module imports numpy, astropy and its archive inside functions only: the Snakefile lists them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skyloom.registry import Registry
from skyloom.surveys.service import Service


@dataclass(frozen=True)
class ImagingSurvey:
    """Everything that the house knows of an imaging survey.

    `bands` {name: pivot wavelength in nm} in the order of the stored planes; `scale` native arcsec/px; `size` default
    stamp in px, `sizes` the smallest and largest; `fwhm` {band: arcsec} where the service gives no PSF; `zero_point` how
    AB zero points are told; `extinction` {band: A_b per unit of SFD's E(B-V) at R_V 3.1}; `aperture` radius in px of the
    static aperture where nothing is detected; `ivar_sources` what the config may choose from, the default first;
    `flag_bit` of `{name}_not_ok` in the catalog, None for a free one. `client(settings, ra, dec)` makes an object with
    `service, bands, scale, size, request, ivar_source`, `missing(cache)`, `fetch(client, urls, options, cache, progress)`
    and `stamps(k, cache, dead)`, as in `skyloom.cutouts`.
    """

    name: str
    title: str
    bands: Mapping[str, float]
    scale: float
    size: int
    sizes: tuple[int, int]
    service: Service
    client: Callable
    zero_point: str
    extinction: Mapping[str, float]
    aperture: float
    licence: str
    citation: str
    fwhm: Mapping[str, float] = field(default_factory=dict)
    ivar_sources: tuple[str, ...] = ("estimated", "archive")
    flag_bit: int | None = None

    def by_wavelength(self) -> list[str]:
        """Bands from blue to red."""
        return sorted(self.bands, key=self.bands.__getitem__)


REGISTRY = Registry("skyloom.surveys.imaging", "SURVEY", "skyloom.imaging", ImagingSurvey, "imaging survey")
