"""Windows of cells around sources: where they lie on the maps, and how pixels there are shared out among sources and sky."""

from __future__ import annotations

from dataclasses import dataclass

import torch

HIGHEST = 15.0  # of a share's logit: exp stays finite
SIDES = {False: 24, True: 72}  # cells across the window of a source, by whether it is a wide one


@dataclass
class Windows:
    """Windows of n sources: `at` (n, k k) index into the flat cells (m y x) of all tiles, `inside` (n, k k) bool, `dx`, `dy`
    (n, k k) from the source's centre to the cell's middle in cells; `side` k."""

    at: torch.Tensor
    inside: torch.Tensor
    dx: torch.Tensor
    dy: torch.Tensor
    side: int


def around(tile: torch.Tensor, x: torch.Tensor, y: torch.Tensor, shape, side: int) -> Windows:
    """Windows of `side` cells around centres (x, y) (n,) in cells (the middle of cell (0, 0) lies at (0, 0)) on maps of shape
    (m, rows, columns), `tile` (n,) of them."""
    _, rows, columns = shape
    step = torch.arange(side, device=x.device) - side // 2
    cx, cy = torch.floor(x + 0.5).long(), torch.floor(y + 0.5).long()
    column, row = cx[:, None] + step, cy[:, None] + step
    inside = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[:, None, :]
    at = (tile[:, None, None] * rows + row.clamp(0, rows - 1)[:, :, None]) * columns + column.clamp(0, columns - 1)[:, None, :]
    dx = (column - x[:, None]).float()[:, None, :].expand(-1, side, -1)
    dy = (row - y[:, None]).float()[:, :, None].expand(-1, -1, side)
    flat = [a.reshape(len(x), side * side) for a in (at, inside, dx, dy)]
    return Windows(*flat, side)


def logits(windows: Windows, query: torch.Tensor, shape: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """(n, k k) log of the light of each source in its window, relative to a sky of exp(its logit), to a common factor.

    An embedding query (n, e) meets the cells' embeddings (e, cells); beside it falls an elliptical profile of `shape` (n, 5):
    height, log radius in cells, two of ellipticity, log slope: height - exp(slope) log(1 + r^2 / radius^2).
    """
    height, radius, plus, cross, slope = shape.unbind(1)
    radius = torch.exp(radius.clamp(-2, 4))[:, None]
    plus, cross = torch.tanh(plus)[:, None], torch.tanh(cross)[:, None]
    r2 = windows.dx**2 * (1 + plus) + windows.dy**2 * (1 - plus) + 2 * cross * windows.dx * windows.dy
    profile = height[:, None] - torch.exp(slope.clamp(-3, 2))[:, None] * torch.log1p(r2.clamp(min=0) / radius**2)
    cells = embedding[:, windows.at.reshape(-1)].reshape(len(embedding), *windows.at.shape)
    met = torch.einsum("ne,enk->nk", query, cells)
    return torch.where(windows.inside, (profile + met).clamp(-HIGHEST, HIGHEST), -torch.inf)


def crowd(parts: list[tuple[Windows, torch.Tensor]], sky: torch.Tensor | None, total=None) -> torch.Tensor:
    """(cells,) sum of exp over all sources' logits and the sky's (cells,): what a cell is divided by; or what `parts` add to a
    `total` so far."""
    if total is None:
        total = torch.exp(sky.clamp(-HIGHEST, HIGHEST))
    for windows, found in parts:
        total = total.scatter_add(0, windows.at.reshape(-1), torch.exp(found).reshape(-1))
    return total


def sky_share(sky: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """(cells,) share of each cell's light that is the sky's, of its logits (cells,)."""
    return torch.exp(sky.clamp(-HIGHEST, HIGHEST)) / total


def shares(windows: Windows, found: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """(n, k k) share of each cell's light that is a source's; over sources and sky they sum to 1."""
    return torch.exp(found) / total[windows.at]
