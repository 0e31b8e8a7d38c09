"""Do masks mean anything? What a network loses without them, and whether it decides by what they mark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from ..attention import attention_maps, merges

Scores = Callable[[nn.Module, Tensor, Tensor], Tensor]  # model, images (N, C, H, W), classes (N,) -> (N, H, W)
STEPS = 16  # in which the pixels of an image go or come
BLUR = 11, 5.0  # kernel in pixels and deviation, behind which an image has no detail
GRADIENT_STEPS = 20  # of integrated gradients

# What stands in a mask's place, (N, C, H, W) -> broadcast to the same.
REPLACED: dict[str, Callable[[Tensor], Tensor]] = {
    'zero': torch.zeros_like,
    'its mean over positions': lambda mask: mask.mean((2, 3), keepdim=True).expand_as(mask),
    'its mean over images': lambda mask: mask.mean(0, keepdim=True).expand_as(mask),
    "another image's": lambda mask: mask.roll(1, 0),
}


@contextmanager
def replaced(model: nn.Module, names: Sequence[str], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The masks of some attention modules, as `attention_maps` names them, changed before they weigh the trunk."""
    found = merges(model)
    hooks = [found[name].register_forward_pre_hook(lambda _, given: (change(given[0]), given[1])) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def ablations(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 100) -> list[dict[str, Any]]:
    """Accuracy with each module's mask replaced, and with all of them.

    Args:
        model: In evaluation mode.
        images: (N, C, H, W), preprocessed, in random order: the image before is the other image.
        labels: (N,), the right classes.
        batch_size: Images at a time, over which means are taken.

    Returns:
        A row for each: `module` (None: all), `mask`, `accuracy`, `difference` to the whole network and `error`, half of
        the 95 % interval of that difference over the images, all in percent.
    """

    def right() -> Tensor:
        batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        return torch.cat([model(x).argmax(1) == y for x, y in batches]).double()

    whole, names = right(), [*merges(model)]
    rows = [dict(module=None, mask='its own', accuracy=100 * whole.mean().item(), difference=0.0, error=0.0)]
    for chosen in [*([name] for name in names), names]:
        for kind, change in REPLACED.items():
            with replaced(model, chosen, change):
                without = right()
            difference, error = estimate(without - whole)
            rows.append(
                dict(
                    module=chosen[0] if len(chosen) == 1 else None, mask=kind, accuracy=100 * without.mean().item(),
                    difference=100 * difference, error=100 * error,
                )
            )  # fmt: skip
    return rows


def estimate(values: Tensor) -> tuple[float, float]:
    """Mean, and half of its 95 % interval."""
    return values.mean().item(), 1.96 * values.std().item() / math.sqrt(len(values))


# Which pixels matter ------------------------------------------------------------------------------------


def by_mask(model: nn.Module, images: Tensor, classes: Tensor, name: str) -> Tensor:
    """The mean over the channels of a module's mask, at the size of the images."""
    return attention_maps(model, images, 'mean', 'input')[name].mask[:, 0]


def by_weight(model: nn.Module, images: Tensor, classes: Tensor, name: str) -> Tensor:
    """What a module's mask adds to the feature: the mean over the channels of |M T|."""
    maps = attention_maps(model, images, size='input')[name]
    return (maps.mask * maps.trunk).abs().mean(1)


def by_grad_cam(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM (arXiv:1610.02391) of the last stage."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(int(c)) for c in classes]
    with GradCAM(model=model, target_layers=[model.stages[-1]]) as cam:
        return torch.from_numpy(cam(input_tensor=images, targets=targets))


def by_integrated_gradients(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Integrated gradients (arXiv:1703.01365) from the mean colour: their sizes, summed over the colours."""
    from captum.attr import IntegratedGradients

    found = IntegratedGradients(model).attribute(
        images, target=classes, n_steps=GRADIENT_STEPS, internal_batch_size=len(images)
    )
    return found.abs().sum(1).detach().float()


def by_chance(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    return torch.rand(len(images), *images.shape[2:], generator=torch.Generator().manual_seed(0))


def methods(model: nn.Module) -> dict[str, Scores]:
    """All ways of scoring pixels, by name."""
    names = [*merges(model)]
    return {
        **{f'mask of {name}': partial(by_mask, name=name) for name in names},
        **{f'mask times trunk of {name}': partial(by_weight, name=name) for name in names},
        'Grad-CAM': by_grad_cam, 'integrated gradients': by_integrated_gradients, 'random': by_chance,
    }  # fmt: skip


def curves(model: nn.Module, images: Tensor, ways: Mapping[str, Scores], batch_size: int = 50) -> list[dict[str, Any]]:
    """Deletion and insertion (arXiv:1806.07421) of the pixels that each way scores highest.

    Deletion paints them in the mean colour, and the probability of the predicted class should fall early; insertion
    puts them back into the blurred image, and it should rise early.

    Args:
        model: In evaluation mode, not in deploy form, which has no gradients of its parts.
        images: (N, C, H, W), preprocessed, so that the mean colour is 0.
        ways: As `methods` gives them.
        batch_size: Images at a time.

    Returns:
        A row for each: `way`, and for `deletion` and `insertion` the area under the curve, `error`, half of its 95 %
        interval over the images, and the `curve`, the mean probability with 0, 1/16, ... of the pixels changed.
    """
    found: dict[str, dict[str, list[Tensor]]] = {way: dict(deletion=[], insertion=[]) for way in ways}
    for batch in images.split(batch_size):
        with torch.no_grad():
            classes = model(batch).argmax(1)
        changed = dict(deletion=(batch, torch.zeros_like(batch)), insertion=(gaussian_blur(batch, *BLUR), batch))
        for way, score in ways.items():
            order = ranks(score(model, batch, classes))
            for kind, (before, after) in changed.items():
                found[way][kind].append(probabilities(model, before, after, order, classes))
    return [dict(way=way, **{kind: area(torch.cat(of)) for kind, of in kinds.items()}) for way, kinds in found.items()]


def ranks(scores: Tensor) -> Tensor:
    """(N, H, W) -> the same, the share of an image's pixels that score higher, in [0, 1)."""
    flat = scores.flatten(1)
    places = flat.argsort(dim=1, descending=True, stable=True).argsort(1)
    return (places / flat.shape[1]).view_as(scores)


@torch.no_grad()
def probabilities(model: nn.Module, before: Tensor, after: Tensor, order: Tensor, classes: Tensor) -> Tensor:
    """(N, STEPS + 1): of its class, as one share of an image's pixels after the other changes."""
    shown = [torch.where((order < step / STEPS)[:, None], after, before) for step in range(STEPS + 1)]
    return torch.stack([model(x).softmax(1).gather(1, classes[:, None])[:, 0] for x in shown], 1)


def area(curve: Tensor) -> dict[str, Any]:
    """(N, STEPS + 1) -> the mean area under it."""
    mean, error = estimate(torch.trapezoid(curve.double(), dx=1 / STEPS))
    return dict(area=mean, error=error, curve=curve.double().mean(0).tolist())


# Objects ------------------------------------------------------------------------------------------------


@torch.no_grad()
def on_objects(model: nn.Module, images: Tensor, objects: Tensor, batch_size: int = 50) -> list[dict[str, Any]]:
    """Masks inside and outside of objects whose outlines are known.

    Args:
        model: In evaluation mode.
        images: (N, C, H, W), preprocessed.
        objects: (N, H, W) bool, which pixels belong to an object.
        batch_size: Images at a time.

    Returns:
        A row for each module: the means of its mask `inside` and `outside`, and `auroc`, the probability that a pixel
        of an object has a higher mask than another of the same image: the farther from 0.5, above or below, the better
        the mask tells objects from background; with its `error`, half of the 95 % interval over the images.
    """
    from sklearn.metrics import roc_auc_score

    rows = {name: dict(inside=[], outside=[], auroc=[]) for name in merges(model)}
    for x, inside in zip(images.split(batch_size), objects.split(batch_size), strict=True):
        for name, maps in attention_maps(model, x, 'mean', 'input').items():
            for mask, of in zip(maps.mask[:, 0], inside, strict=True):
                rows[name]['inside'].append(mask[of].mean())
                rows[name]['outside'].append(mask[~of].mean())
                rows[name]['auroc'].append(roc_auc_score(of.flatten(), mask.flatten()))
    return [_object_row(name, **found) for name, found in rows.items()]


def _object_row(module: str, inside: list[Tensor], outside: list[Tensor], auroc: list[float]) -> dict[str, Any]:
    mean, error = estimate(torch.tensor(auroc, dtype=torch.float64))
    means = dict(inside=torch.stack(inside).mean().item(), outside=torch.stack(outside).mean().item())
    return dict(module=module, **means, auroc=mean, error=error)


# Statistics ---------------------------------------------------------------------------------------------


@torch.no_grad()
def statistics(model: nn.Module, images: Tensor) -> list[dict[str, Any]]:
    """How the mask of each module is distributed over images, channels and positions.

    Returns:
        A row for each: `module`, `mean`, `deviation`, and how much of the variance is between `positions` (of a channel
        and an image), between `channels` (of an image) and between `images`; the three shares add up to 1.
    """
    rows = []
    for name, maps in attention_maps(model, images).items():
        mask = maps.mask.double()
        channel = mask.mean((2, 3), keepdim=True)
        image = channel.mean(1, keepdim=True)
        parts = [part.square().mean() for part in (mask - channel, channel - image, image - image.mean())]
        whole = sum(parts).clamp(min=1e-30)
        shares = {of: (p / whole).item() for of, p in zip(('positions', 'channels', 'images'), parts, strict=True)}
        rows.append(dict(module=name, mean=mask.mean().item(), deviation=mask.std(correction=0).item(), **shares))
    return rows
