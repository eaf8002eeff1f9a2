"""The bits of the catalog's `flags`: ours, and one for every imaging survey. Imports no numpy: the config is checked with it."""

from __future__ import annotations

import json

from skyloom.errors import InputError
from skyloom.surveys import imaging

BITS = {"g_not_ok": 0, "r_not_ok": 1, "i_not_ok": 2, "z_not_ok": 3, "y_not_ok": 4, "missing_magnitude": 5,
        "no_z_std": 6, "no_z_phot": 7, "no_source": 8, "blend": 9, "edge": 10, "no_psf": 11, "sersic_failed": 12,
        "masked_pixels": 13, "extraction_failed": 14, "target_off_centre": 15, "no_z_spec_err": 16, "extrapolated": 21}
# Bits of `detect_flags` of sources found in scenes, and the flags that say the same of the target of a stamp.
DETECTED = {"blended": 0, "edge": 1, "saturated": 2, "shredded": 3, "masked": 4}
SAME = {"blend": "blended", "edge": "edge", "masked_pixels": "masked"}
HIGHEST = 30  # flags are int32, without its sign


def flag_bits(fetched=()) -> dict[str, int]:
    """{flag: bit} of a catalog: BITS, the surveys that have a bit of their own, and those of the run (`fetched`), which get a
    free one where they have none."""
    own = {survey.name: survey.flag_bit for survey in imaging.REGISTRY.values()}
    return assigned({name: bit for name, bit in own.items() if bit is not None} | {name: own.get(name) for name in fetched})


def assigned(surveys: dict[str, int | None]) -> dict[str, int]:
    """BITS in their order with `{name}_not_ok` of imaging surveys {name: its bit, None for the lowest free one}.

    InputError if a survey wants a bit that means something else, or none is left.
    """
    out = dict(BITS)
    for name in sorted(surveys, key=lambda name: (surveys[name] is None, name)):
        taken = {bit: flag for flag, bit in out.items()}
        bit = surveys[name]
        if bit is None:
            bit = next((free for free in range(HIGHEST + 1) if free not in taken and free not in surveys.values()), HIGHEST + 1)
        if bit in taken or not 0 <= bit <= HIGHEST:
            meaning = f"means {taken[bit]}" if bit in taken else f"is not within 0 and {HIGHEST}, where all others are taken"
            raise InputError(f"the imaging survey {name} gets the flag bit {bit}, which {meaning}; give it another `flag_bit` "
                             "or fetch fewer surveys")
        out[f"{name}_not_ok"] = bit
    return dict(sorted(out.items(), key=lambda one: one[1]))


def flag_names(bits: dict[str, int]) -> str:
    """Flag names by bit as JSON, for metadata."""
    return json.dumps({str(bit): name for name, bit in bits.items()})
