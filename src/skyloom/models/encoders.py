"""Image encoders by name, torch imported when one is made: (n, channels, y, x) -> (n, features)."""

from __future__ import annotations


def cnn(channels: int):
    """(module, features) of four convolutions, each of which halves the image, averaged over what is left."""
    from torch import nn

    layers: list[nn.Module] = []
    widths = (channels, 24, 48, 64, 96)
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), widths[-1]


ENCODERS = {"cnn": cnn}  # a group's `encoder`: channels -> (module, features)
