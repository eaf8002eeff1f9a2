"""Mask planes of the LSST pipelines, which made HSC's images and Rubin's: the header says which bit is which."""

from __future__ import annotations

import functools

# planes that make a pixel useless; DETECTED, BRIGHT_OBJECT and the like only inform
BAD_PLANES = ("BAD", "SAT", "NO_DATA", "SUSPECT", "CR", "INTRP")


def unusable(head) -> int:
    """The bits of `BAD_PLANES` by the MP_ cards of a mask's header (`fitsimages.Cards`)."""
    return sum(1 << bit for name, bit in bits(head).items() if name in BAD_PLANES)


def bits(head) -> dict[str, int]:
    """{plane: bit} by the MP_ cards of a mask's header."""
    return _bits(tuple(card for key, card in head.items() if key.startswith("MP_")))


@functools.lru_cache(64)
def _bits(cards: tuple[str, ...]) -> dict[str, int]:
    from astropy.io import fits

    parsed = [fits.Card.fromstring(card) for card in cards]
    return {card.keyword.removeprefix("MP_"): int(card.value) for card in parsed}
