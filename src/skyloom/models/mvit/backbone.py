"""MViTv2 (Li et al. 2022): pooling attention, decomposed relative positions, residual pooling, windows; and a feature pyramid.

Parameters of the backbone bear the names that timm's published weights have. Attention is global in the last block of every
stage but the first, and in windows elsewhere (the paper's hybrid windows); keys that only fill a window up are masked, so that
the features of a tile don't depend on how far its last window reaches beyond it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WINDOW = 56  # tokens of stride 4 a side of a window, halved with each stage; also the table of relative positions: 224 px
KEY_STRIDE = 4  # of keys and values in the first stage, halved with each
STRIDES = (4, 8, 16, 32)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): the branch of an image is left out with a chance in training."""

    def __init__(self, chance: float):
        super().__init__()
        self.chance = chance

    def forward(self, x):
        if not self.training or not self.chance:
            return x
        keep = torch.rand((len(x), *[1] * (x.dim() - 1)), device=x.device) >= self.chance
        return x * keep / (1 - self.chance)


class Mlp(nn.Module):
    """Four times the width, GELU, and to `out`."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, out)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


def windows(x: torch.Tensor, side: int) -> torch.Tensor:
    """Tokens (n, heads, y, x, c) as windows (n, ny, nx, heads, side, side, c), filled up with zeros; side 0: one window."""
    n, heads, height, width, channels = x.shape
    side_y, side_x = (side, side) if side else (height, width)
    x = functional.pad(x, (0, 0, 0, -width % side_x, 0, -height % side_y))
    x = x.reshape(n, heads, x.shape[2] // side_y, side_y, x.shape[3] // side_x, side_x, channels)
    return x.permute(0, 2, 4, 1, 3, 5, 6)


def unwindowed(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse, without what filled up: (n, y, x, heads * c)."""
    n, ny, nx, heads, side_y, side_x, channels = x.shape
    x = x.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, ny * side_y, nx * side_x, heads * channels)
    return x[:, :height, :width]


def relative(table: torch.Tensor, queries: int, keys: int) -> torch.Tensor:
    """(queries, keys, c) of a table (2 s - 1, c) of relative positions along one axis, in steps of the finer of the two; the
    table is interpolated where the axis is longer or shorter than the one that it was made for."""
    length = 2 * max(queries, keys) - 1
    if len(table) != length:
        table = functional.interpolate(table.float().T[None], size=length, mode="linear")[0].T
    step_q, step_k = max(keys / queries, 1.0), max(queries / keys, 1.0)
    at = torch.arange(queries, device=table.device)[:, None] * step_q - torch.arange(keys, device=table.device) * step_k
    return table[(at + (keys - 1) * step_k).long()]


class Attention(nn.Module):
    """Multi-head attention among pooled queries, keys and values; the pooled query is added to what it finds."""

    def __init__(self, width: int, out: int, heads: int, stride: int, key_stride: int, window: int, size: int):
        super().__init__()
        self.heads, self.stride, self.key_stride, self.window = heads, stride, key_stride, window
        each = out // heads
        self.qkv, self.proj = nn.Linear(width, 3 * out), nn.Linear(out, out)
        for name, step in (("q", stride), ("k", key_stride), ("v", key_stride)):
            setattr(self, f"pool_{name}", nn.Conv2d(each, each, 3, step, 1, groups=each, bias=False))
            setattr(self, f"norm_{name}", nn.LayerNorm(each, eps=1e-6))
        length = 2 * max(size // stride, size // key_stride) - 1
        self.rel_pos_h, self.rel_pos_w = (nn.Parameter(torch.zeros(length, each)) for _ in range(2))
        nn.init.trunc_normal_(self.rel_pos_h, std=0.02)
        nn.init.trunc_normal_(self.rel_pos_w, std=0.02)

    def forward(self, x):
        """Tokens (n, y, x, width) -> (n, y / stride, x / stride, out)."""
        q, k, v = (self._pooled(part, name) for part, name in zip(self.qkv(x).chunk(3, dim=-1), "qkv", strict=True))
        height, width = q.shape[2:4]
        side = self.window if self.window and max(x.shape[1:3]) > self.window else 0
        data = torch.ones((1, 1, *k.shape[2:4], 1), dtype=torch.bool, device=x.device)
        q, (k, v, data) = windows(q, side // self.stride), (windows(one, side // self.key_stride) for one in (k, v, data))
        tokens, keys = q.shape[4] * q.shape[5], k.shape[4] * k.shape[5]
        bias = self._bias(q, k.shape[4:6])
        if side:
            bias = bias.masked_fill(~data.flatten(4).reshape(1, *data.shape[1:3], 1, 1, keys), float("-inf"))
        found = functional.scaled_dot_product_attention(*(one.flatten(4, 5).flatten(0, 2) for one in (q, k, v)),
                                                        attn_mask=bias.flatten(0, 2).to(q.dtype))
        found = found.reshape(*q.shape[:4], tokens, -1).unflatten(4, q.shape[4:6])
        return self.proj(unwindowed(found + q, height, width))

    def _pooled(self, x, name):
        """(n, y, x, heads * c) -> (n, heads, y', x', c), each head pooled alike."""
        n, height, width, _ = x.shape
        x = x.reshape(n, height, width, self.heads, -1).permute(0, 3, 4, 1, 2).flatten(0, 1)
        x = getattr(self, f"pool_{name}")(x).unflatten(0, (n, self.heads)).permute(0, 1, 3, 4, 2)
        return getattr(self, f"norm_{name}")(x)

    def _bias(self, q, keys):
        """(..., heads, tokens, keys): each query times the relative positions along y plus those along x (the paper's eq. 5)."""
        along_y = torch.einsum("...yxc,ykc->...yxk", q, relative(self.rel_pos_h, q.shape[4], keys[0]).to(q.dtype))
        along_x = torch.einsum("...yxc,xkc->...yxk", q, relative(self.rel_pos_w, q.shape[5], keys[1]).to(q.dtype))
        return (along_y[..., :, None] + along_x[..., None, :]).flatten(6, 7).flatten(4, 5)


class Block(nn.Module):
    """Attention and an MLP, each added to its input, which a stage's first block widens and pools."""

    def __init__(self, width: int, out: int, heads: int, stride: int, key_stride: int, window: int, size: int, drop: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(out, eps=1e-6)
        self.attn = Attention(width, out, heads, stride, key_stride, window, size)
        self.mlp = Mlp(out, out)
        self.shortcut_proj_attn = nn.Linear(width, out) if width != out else None
        self.stride, self.drop = stride, DropPath(drop)

    def forward(self, x):
        normed = self.norm1(x)
        short = x if self.shortcut_proj_attn is None else self.shortcut_proj_attn(normed)
        if self.stride > 1:
            short = functional.max_pool2d(short.permute(0, 3, 1, 2), self.stride + 1, self.stride,
                                          (self.stride + 1) // 2).permute(0, 2, 3, 1)
        x = short + self.drop(self.attn(normed))
        return x + self.drop(self.mlp(self.norm2(x)))


class MViT(nn.Module):
    """Images (n, bands, y, x), sides multiples of 32 -> features of strides 4, 8, 16, 32, widths `width` times 1, 2, 4, 8.

    `blocks` a stage (2, 3, 16, 3 is B); `drop`: chance of the last block to be left out, rising from 0; `window` 0: attention
    is global everywhere, as in classification.
    """

    def __init__(self, bands: int, width: int, blocks, drop: float, window: int = WINDOW):
        super().__init__()
        self.widths = [width << k for k in range(4)]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(bands, width, 7, 4, 3)})
        self.stages, self.norms, done, size = nn.ModuleList(), nn.ModuleList(), 0, WINDOW
        for k, number in enumerate(blocks):
            stage = nn.ModuleDict({"blocks": nn.ModuleList()})
            for j in range(number):
                stride = 2 if k and not j else 1
                own = 0 if k and j == number - 1 else window >> max(k - (not j), 0)
                stage["blocks"].append(Block(self.widths[k - (stride > 1)], self.widths[k], 1 << k, stride,
                                             max(KEY_STRIDE >> k, 1), own, size, drop * done / max(sum(blocks) - 1, 1)))
                done, size = done + 1, size // stride
            self.stages.append(stage)
            self.norms.append(nn.LayerNorm(self.widths[k], eps=1e-6))
        self.apply(_start)

    def forward(self, x):
        x, out = self.patch_embed["proj"](x).permute(0, 2, 3, 1), []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            for block in stage["blocks"]:
                x = block(x)
            out.append(norm(x).permute(0, 3, 1, 2))
        return out


def _start(module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class Normed(nn.Module):
    """A convolution without bias and layer normalisation over its channels."""

    def __init__(self, before: int, after: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.LayerNorm(after, eps=1e-6)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017): coarse features, doubled, are added to finer ones; a level of stride 64 on top by
    taking every second cell. Five levels of `channels` each, strides 4 to 64."""

    def __init__(self, widths, channels: int):
        super().__init__()
        self.lateral = nn.ModuleList(Normed(width, channels, 1) for width in widths)
        self.output = nn.ModuleList(Normed(channels, channels, 3) for _ in widths)

    def forward(self, features):
        down, out = None, []
        for lateral, output, one in reversed(list(zip(self.lateral, self.output, features, strict=True))):
            own = lateral(one)
            down = own if down is None else own + functional.interpolate(down, scale_factor=2.0, mode="nearest")
            out.insert(0, output(down))
        return [*out, out[-1][:, :, ::2, ::2]]
