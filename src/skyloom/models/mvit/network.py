"""The whole network: losses of scenes with their targets, or what it finds in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from skyloom.models.mvit import boxes as box
from skyloom.models.mvit import heads, proposals, rois, targets
from skyloom.models.mvit.backbone import STRIDES, MViT, Pyramid

EDGE = STRIDES[-1]  # px of which the sides of what the backbone sees are multiples


@dataclass(frozen=True)
class Sizes:
    """Of the layers; the defaults are the published ones."""

    bands: int = 6
    width: int = 96
    blocks: tuple[int, ...] = (2, 3, 16, 3)
    channels: int = 256
    hidden: int = 1024
    redshift: tuple[int, int] = (1024, 64)
    ebv: bool = False
    drop: float = 0.4


@dataclass(frozen=True)
class Numbers:
    """How many are kept or drawn: anchors and boxes an image of which losses are taken, the share of boxes that are sources,
    proposals a level and an image (training, otherwise), sources found a scene, their least score and largest overlap."""

    anchors: int = 256
    boxes: int = 512
    share: float = 0.5
    before: tuple[int, int] = (6000, 6000)
    after: tuple[int, int] = (6000, 3000)
    most: int = 3000
    score: float = 0.3
    overlap: float = 0.5


class Mvit(nn.Module):
    """Backbone, pyramid, proposals, three stages, masks and redshifts."""

    def __init__(self, sizes: Sizes, numbers: Numbers):
        super().__init__()
        self.sizes, self.numbers = sizes, numbers
        self.backbone = MViT(sizes.bands, sizes.width, sizes.blocks, sizes.drop)
        self.pyramid = Pyramid(self.backbone.widths, sizes.channels)
        self.proposer = proposals.Proposer(sizes.channels)
        self.cascade = nn.ModuleList(heads.Stage(sizes.channels, sizes.hidden) for _ in heads.OVERLAPS)
        self.masks = heads.Masks(sizes.channels)
        self.head = heads.Redshift(sizes.channels, sizes.ebv, *sizes.redshift)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Levels of strides 4 to 64 of scaled images (n, bands, y, x), filled up with zeros to whole cells of stride 32."""
        height, width = images.shape[2:]
        return self.pyramid(self.backbone(functional.pad(images, (0, -width % EDGE, 0, -height % EDGE))))

    def losses(self, images: torch.Tensor, truth: list[targets.Targets], ebv: torch.Tensor | None = None) -> dict:
        """{part: loss} of scaled images with their targets; their sum is what training lowers. `ebv` (n,): of each scene."""
        levels, numbers = self.features(images), self.numbers
        logits, changes = self.proposer(levels)
        places = proposals.anchors(levels)
        out = proposals.losses(logits, changes, places, [one.boxes for one in truth], numbers.anchors)
        found = proposals.proposed(logits, changes, places, *images.shape[2:], numbers.before[0], numbers.after[0])
        found, rows = self._drawn(found, truth)
        out |= self._cascade_losses(levels, found, truth, images.shape[2:])
        return out | self._own_losses(levels, found, rows, truth, ebv)

    def _drawn(self, found, truth):
        """(boxes, rows of true boxes of those that are sources, which come first), lists of images; true boxes are among the
        proposals, so that there is something to learn from the start."""
        boxes, rows = [], []
        for own, one in zip(found, truth, strict=True):
            own = torch.cat([own, one.boxes])
            row, kind = heads.assigned(own, one.boxes, one.kinds, heads.OVERLAPS[0])
            yes, no = box.drawn(kind != heads.NOTHING, kind == heads.NOTHING, self.numbers.boxes, self.numbers.share)
            boxes.append(own[torch.cat([yes, no])])
            rows.append(row[yes])
        return boxes, rows

    def _cascade_losses(self, levels, found, truth, shape):
        """Of the three stages, each on the boxes as the one before left them."""
        out: dict = {}
        first = [0, *torch.tensor([len(one.boxes) for one in truth]).cumsum(0).tolist()[:-1]]
        true_boxes = torch.cat([one.boxes for one in truth])
        for k, least in enumerate(heads.OVERLAPS):
            pairs = [heads.assigned(own, one.boxes, one.kinds, least) for own, one in zip(found, truth, strict=True)]
            rows = torch.cat([row + start for (row, _), start in zip(pairs, first, strict=True)])
            said = self.cascade[k](rois.pooled(levels[:4], found, heads.POOLED))
            out |= heads.stage_losses(k, said, torch.cat(found), rows, torch.cat([kind for _, kind in pairs]), true_boxes)
            found = self._moved(k, found, said[1], shape)
        return out

    def _moved(self, k, found, changes, shape):
        """Boxes of each image after stage k; changes (sum of n, 4). One that is left with nothing inside the image stays."""
        out = []
        for own, change in zip(found, changes.detach().split([len(own) for own in found]), strict=True):
            new = box.inside(box.decode(own, change, heads.WEIGHTS[k]), *shape)
            out.append(torch.where((box.area(new) > 0)[:, None] & torch.isfinite(new).all(dim=1, keepdim=True), new, own))
        return out

    def _own_losses(self, levels, found, rows, truth, ebv):
        """Of the masks and the redshifts of the drawn boxes that are sources."""
        sources = [own[:len(row)] for own, row in zip(found, rows, strict=True)]
        kinds = torch.cat([one.kinds[row] for one, row in zip(truth, rows, strict=True)])
        z = torch.cat([one.z[row] for one, row in zip(truth, rows, strict=True)])
        said = self.masks(rois.pooled(levels[:4], sources, heads.MASK))
        own = said[torch.arange(len(said)), kinds.clamp(min=0)]
        wanted = torch.cat([targets.pixels(one, row, boxes, 2 * heads.MASK)
                            for one, row, boxes in zip(truth, rows, sources, strict=True)])
        mask = functional.binary_cross_entropy_with_logits(own, wanted) if len(own) else said.sum() * 0
        taught = torch.isfinite(z)
        out = self._redshifts(levels, sources, ebv)[taught]
        return {"mask": mask, "redshift": heads.unlikelihood(out, z[taught])}

    def _redshifts(self, levels, found, ebv):
        """(sum of n, 15) of the redshift head."""
        features = rois.pooled(levels[:4], found, heads.POOLED).flatten(1)
        if self.sizes.ebv:
            counts = torch.tensor([len(own) for own in found], device=ebv.device)
            features = torch.cat([features, ebv.to(features).repeat_interleave(counts)[:, None]], dim=1)
        return self.head(features)

    @torch.no_grad()
    def find(self, images: torch.Tensor, ebv: torch.Tensor | None = None, given: list[torch.Tensor] | None = None,
             score: float | None = None) -> list[dict]:
        """A dict an image, best source first: `boxes` (n, 4) px, `score` above the least and `p_star` (n,), `mixture` (log
        weights, means, sigmas), each (n, 5), `masks` (n, 28, 28) chances of the box's cells. `given`: boxes that are taken as
        they are."""
        levels, numbers = self.features(images), self.numbers
        if given is None:
            logits, changes = self.proposer(levels)
            places = proposals.anchors(levels)
            found = proposals.proposed(logits, changes, places, *images.shape[2:], numbers.before[1], numbers.after[1])
        else:
            found = given
        found, chances = self._refined(levels, found, images.shape[2:], still=given is not None)
        if given is None:
            least = self.numbers.score if score is None else score
            found, chances = zip(*(self._chosen(*pair, least) for pair in zip(found, chances, strict=True)), strict=True)
        redshifts = self._redshifts(levels, found, ebv).split([len(own) for own in found])
        return [self._told(k, levels, *parts) for k, parts in enumerate(zip(found, chances, redshifts, strict=True))]

    def _refined(self, levels, found, shape, still):
        """(boxes, chances (n, 3)) of each image: boxes moved by every stage unless `still`, the chances of its three averaged."""
        chances = 0
        for k, stage in enumerate(self.cascade):
            logits, changes = stage(rois.pooled(levels[:4], found, heads.POOLED))
            chances = chances + torch.softmax(logits, dim=1) / len(self.cascade)
            found = found if still else self._moved(k, found, changes, shape)
        return found, chances.split([len(own) for own in found])

    def _chosen(self, found, chances, least):
        """The best of them: a source is one row, whatever its class."""
        score = 1 - chances[:, heads.NOTHING]
        rows = (score >= least).nonzero()[:, 0]
        rows = rows[box.nms(found[rows], score[rows], self.numbers.overlap)[:self.numbers.most]]
        return found[rows], chances[rows]

    def _told(self, k, levels, found, chances, redshifts):
        """What is said of the boxes of image k."""
        features = rois.pooled([level[k:k + 1] for level in levels[:4]], [found], heads.MASK)
        kinds = chances[:, :heads.NOTHING].argmax(dim=1)
        masks = torch.sigmoid(self.masks(features))[torch.arange(len(found)), kinds]
        sources = chances[:, :heads.NOTHING].sum(dim=1)
        return {"boxes": found, "score": sources, "p_star": chances[:, heads.STAR] / sources.clamp(min=1e-12),
                "mixture": heads.gaussians(redshifts), "masks": masks}
