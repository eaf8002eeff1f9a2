"""sep against source-extractor on the same stamps, once per image each: the ratio, whatever it is. Prints JSON."""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from skyloom.measure import morphology, sources
from tests.peers import test_source_extractor as peer


def main(count=200, rounds=3):
    images = peer.cutouts(count)
    kernel = morphology.read_kernel(peer.KERNEL.read_text())
    seconds = {"sep": [], "source-extractor": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "names.param").write_text("\n".join(peer.NAMES) + "\n")
        for _ in range(rounds):
            started = time.perf_counter()
            for image in images:
                sources.measure(image, np.zeros(image.shape, bool), peer.OPTIONS, kernel, 27.0, 0.168)
            seconds["sep"].append(time.perf_counter() - started)
            started = time.perf_counter()
            for image in images:
                peer.reference(image, folder)
            seconds["source-extractor"].append(time.perf_counter() - started)
    rates = {name: count / float(np.median(values)) for name, values in seconds.items()}
    print(json.dumps({"images": count, "rounds": rounds, "images_per_s": {k: round(v, 1) for k, v in rates.items()},
                      "ratio": round(rates["sep"] / rates["source-extractor"], 2),
                      "note": "source-extractor: one process a stamp, with a FITS file in and a catalog out"}))


if __name__ == "__main__":
    main()
