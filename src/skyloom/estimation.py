"""Streaming inference: z of every row, in float32, whatever the size of the file."""

from __future__ import annotations

import numpy as np
import torch


@torch.no_grad()
def predict(model, images, table: np.ndarray, device, batch_size: int = 256) -> np.ndarray:
    """z (n,) float64 of rows with inputs table (n, k) and `images(rows)` (None for networks without)."""
    model.to(device, memory_format=torch.channels_last).eval()
    out = []
    for rows in np.array_split(np.arange(len(table)), max(1, -(-len(table) // batch_size))):
        if not len(rows):
            continue
        image = None
        if images is not None:
            image = torch.from_numpy(images(rows)).to(device, memory_format=torch.channels_last)
        out.append(model(image, torch.from_numpy(table[rows]).to(device)).double().cpu().numpy())
    return np.concatenate(out) if out else np.zeros(0)
