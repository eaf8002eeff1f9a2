"""Shapley values over all coalitions: late fusion by reuse against full passes, early fusion against the plain forward rate.
Prints JSON."""

import json
import sys
import time

import numpy as np
import torch

from skyloom.models import attribution, families, mantis
from skyloom.models.card import Card


def pictures(n, sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, bands, sizes[name], sizes[name], generator=generator) for name, bands in mantis.SURVEYS.items()}


SIZES = {"mantis_late": {"ps1": 120, "galex": 20, "unwise": 12}, "mantis_early": dict.fromkeys(mantis.SURVEYS, 120)}


@torch.no_grad()
def main(objects=4, encoder="atto"):
    """Networks of `encoder` at the paper's views; the median of three runs each, alternating."""
    torch.set_num_threads(2)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    z, ebv = torch.tensor(mantis.centres(100)).float().to(device), torch.zeros(objects, 2, device=device)

    def point(out):
        return mantis.expectation(out, z)

    out = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, 2 threads", "encoder": encoder,
           "objects": objects}
    for name, sizes in SIZES.items():
        family, options = families.of(name), families.options(name, {"encoder": encoder, "bins": 100, "gamma": 0.1})
        model = family.build(Card(name, options, **family.example(options))).to(device, memory_format=torch.channels_last).eval()
        whole, dark = ({k: v.to(device) for k, v in pictures(objects, sizes, seed).items()} for seed in (1, 2))
        seconds = {"coalitions": [], "plain": []}
        count = 512 * objects
        batch = {k: v.repeat(-(-256 // objects), 1, 1, 1)[:256] for k, v in whole.items()}
        for _ in range(3):
            started = time.perf_counter()
            if name == "mantis_late":
                attribution.values_late(model, whole, dark, ebv, point)
            else:
                attribution.values_early(model, whole, dark, ebv, point, batch=256)
            seconds["coalitions"].append(time.perf_counter() - started)
            started = time.perf_counter()
            for _ in range(max(1, count // 256)):
                point(model(batch, ebv[:1].expand(256, 2))).cpu()
            seconds["plain"].append(time.perf_counter() - started)
        plain, ours = (float(np.median(seconds[key])) for key in ("plain", "coalitions"))
        out[name] = {"coalitions_s_per_object": round(ours / objects, 3),
                     "plain_512_passes_s_per_object": round(plain / objects, 3), "ratio_plain_to_ours": round(plain / ours, 3)}
    print(json.dumps(out))


if __name__ == "__main__":
    main(*([int(sys.argv[1])] if sys.argv[1:] else []), *sys.argv[2:3])
