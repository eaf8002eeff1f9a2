"""REGISTRY of imaging surveys: every module here holds a `SURVEY`; other packages add theirs by the entry point
`skyloom.imaging`. A module imports numpy, astropy and its archive inside functions only: the Snakefile lists them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skyloom.errors import InputError
from skyloom.registry import Registry
from skyloom.surveys.service import Service

LAYOUTS = ("multi", "galaxiesml")
_NAME = re.compile(r"[a-z][a-z0-9]*")
_RESERVED = ("local", "g", "r", "i", "z", "y")  # the user's own images; names of flags


@dataclass(frozen=True)
class ImagingSurvey:
    """Everything that the house knows of an imaging survey.

    `bands` {name: pivot wavelength in nm} in the order of the stored planes; `scale` native arcsec/px; `size` default
    stamp in px and `sizes` the smallest and largest of the key `stamps.sizes.<name>`, both None where `stamps.size` says it;
    `fwhm` {band: arcsec} where the service gives no PSF; `zero_point` a number a band (AB), or in words where the replies tell;
    `extinction` {band: A_b per unit of SFD's E(B-V) at R_V 3.1}; `aperture` radius in px of the static aperture where nothing
    is detected; `ivar_sources` what the config may choose from, the default first; `own_psf` True where the service gives every
    stamp's own PSF, so that its structure can be measured; `flag_bit` of `{name}_not_ok` in the catalog,
    None for a free one; `catalog(service, template, options)` asks for the archive's object catalog (see
    `skyloom.sample.objects`), None where it has none;
    `layout` `galaxiesml` where a run of this survey alone is packed as GalaxiesML's, with morphology, else
    `multi`. `client(survey, settings, ra, dec)` makes a `skyloom.surveys.clients.Cutouts` of positions in deg with the settings
    of the `stamps` block. InputError for facts that don't fit together.
    """

    name: str
    title: str
    bands: Mapping[str, float]
    scale: float
    service: Service
    client: Callable
    zero_point: str | Mapping[str, float]
    aperture: float
    licence: str
    citation: str
    size: int | None = None
    sizes: tuple[int, int] | None = None
    fwhm: Mapping[str, float] = field(default_factory=dict)
    extinction: Mapping[str, float] = field(default_factory=dict)
    ivar_sources: tuple[str, ...] = ("estimated", "archive")
    own_psf: bool = False
    flag_bit: int | None = None
    layout: str = "multi"
    catalog: Callable | None = None

    def __post_init__(self):
        wrong = self._wrong()
        if wrong:
            raise InputError(f"the imaging survey {self.name!r} {wrong}; mend its module")

    def _wrong(self) -> str:
        """What doesn't fit, empty where all does."""
        if not _NAME.fullmatch(self.name) or self.name in _RESERVED:
            return f"needs a name of small letters and digits that is none of {', '.join(_RESERVED)}"
        bad = [band for band in self.bands if not _NAME.fullmatch(band)]
        if bad or not self.bands:
            return f"has the band {bad[0]!r}, bands are small letters and digits" if bad else "has no bands"
        numbers = {} if isinstance(self.zero_point, str) else self.zero_point
        for what, facts in (("fwhm", self.fwhm), ("extinction", self.extinction), ("zero_point", numbers)):
            if facts and set(facts) != set(self.bands):
                return f"has {what} for {', '.join(facts)}, but the bands {', '.join(self.bands)}"
        if self.sizes and not (self.size and self.sizes[0] <= self.size <= self.sizes[1]):
            return f"has the default size {self.size}, which is not within {self.sizes}"
        if self.size and not self.sizes:
            return f"has the default size {self.size} without limits (`sizes`)"
        if self.layout not in LAYOUTS:
            return f"has the layout {self.layout!r}, known: {', '.join(LAYOUTS)}"
        return "" if self.ivar_sources else "has no `ivar_sources`"

    def cutouts(self, settings: dict, ra, dec):
        """The client that fetches and cuts the stamps of positions (deg) with the settings of the `stamps` block."""
        return self.client(self, settings, ra, dec)

    def tiles(self, settings: dict, ra, dec, side: int):
        """The client of scenes: as `cutouts`, for tiles of `side` px around positions (deg), whatever `sizes` allows a stamp.
        Each band's `Stamp` of a tile has the gnomonic WCS (`crval, crpix, cd`) of its own pixels."""
        return self.client(self, {**settings, "size": side}, ra, dec)


REGISTRY = Registry("skyloom.surveys.imaging", "SURVEY", "skyloom.imaging", ImagingSurvey, "imaging survey")
