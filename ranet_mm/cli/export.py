"""Export a model to ONNX, TorchScript or torch.export, and check the file against the model."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from . import program

Run = Callable[[Tensor], Tensor]
TOLERANCE = 1e-4  # of logits, relative and absolute
AXES = {0: 'batch', 2: 'height', 3: 'width'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('export', __doc__)
    parser.add_argument('model', help='name in timm, as in attention56_cifar or attention56_cifar.cifar10')
    parser.add_argument('out', type=Path, help=f'file to write; its ending chooses the format: {", ".join(FORMATS)}')
    parser.add_argument('--pretrained', action='store_true', help='with the weights of that name')
    parser.share('--checkpoint', '--overwrite')
    parser.add_argument('--num-classes', type=int, help="classes (the variant's own by default)")
    parser.add_argument('--model-kwargs', nargs='*', default=[], metavar='KEY=VALUE', help='change the model')
    parser.add_argument('--opset', type=int, default=18, help='version of the ONNX operators, 18 or later')
    parser.add_argument('--static', action='store_true', help='fix the size of the images; the batch stays dynamic')
    parser.add_argument('--sizes', type=int, nargs='+', help='sides of the images to check with, in pixels')
    args = parser.parse_args(argv)
    if args.out.suffix not in FORMATS:
        parser.error(f'out {str(args.out)!r} is not allowed: it must end in one of {", ".join(FORMATS)}')
    if args.opset < 18:
        parser.error(f'--opset {args.opset} is not allowed: it must be 18 or later')
    if args.pretrained and args.checkpoint:
        parser.error('--pretrained and --checkpoint exclude each other')
    return args


def export(args: argparse.Namespace) -> None:
    """Build, write, check, and say where the file is.

    Raises:
        FileExistsError: The file exists, and `--overwrite` was not given.
        RuntimeError: The file does not give the model's logits.
    """
    if args.out.exists() and not args.overwrite:
        raise FileExistsError(f'{str(args.out)!r} exists: --overwrite replaces it')
    model = build(args)
    static = args.static or model.head.global_pool.pool_type == 'flatten'
    write, read = FORMATS[args.out.suffix]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # about the exporters' own future
        write(model, example(model, static), args.out, static, args.opset)
        run = read(args.out)
        for side in args.sizes or check_sides(model, static):
            print(f'{side}x{side}: logits differ by at most {check(model, run, sample_images(model, side)):.1e}')
    print(f'written and checked: {args.out}')


def build(args: argparse.Namespace) -> nn.Module:
    """The model with its weights, in evaluation mode."""
    import timm

    from ..weights.fit import fitting
    from ..weights.read import read, weights_of

    options = dict(pretrained=args.pretrained, num_classes=args.num_classes, scriptable=True)
    model = timm.create_model(args.model, **options, **program.parse_options(args.model_kwargs))
    if args.checkpoint:
        state, _ = weights_of(read(args.checkpoint))
        model.load_state_dict(fitting(state, model))
    return model.eval()


# Formats ------------------------------------------------------------------------------------------------


def example(model: nn.Module, static: bool) -> Tensor:
    """Images to trace with: two, so that the batch is not taken for fixed, and not square where sizes may vary."""
    height, width = (model.arch.img_size, model.arch.img_size) if static else (96, 64)
    return torch.randn(2, model.in_chans, height, width)


def axes(static: bool) -> dict[int, str]:
    return {0: 'batch'} if static else AXES


def write_onnx(model: nn.Module, images: Tensor, path: Path, static: bool, opset: int) -> None:
    torch.onnx.export(
        model,
        (images,),
        str(path),
        input_names=['images'],
        output_names=['logits'],
        opset_version=opset,
        dynamic_shapes=(axes(static),),
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def read_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return lambda images: torch.from_numpy(session.run(None, {'images': images.numpy()})[0])


def write_torchscript(model: nn.Module, images: Tensor, path: Path, static: bool, opset: int) -> None:
    torch.jit.script(model).save(str(path))


def write_program(model: nn.Module, images: Tensor, path: Path, static: bool, opset: int) -> None:
    shapes = dict.fromkeys(axes(static), torch.export.Dim.AUTO)
    torch.export.save(torch.export.export(model, (images,), dynamic_shapes=(shapes,)), path)


FORMATS: dict[str, tuple[Callable[..., None], Callable[[Path], Run]]] = {
    '.onnx': (write_onnx, read_onnx),
    '.pt': (write_torchscript, lambda path: torch.jit.load(str(path))),
    '.pt2': (write_program, lambda path: torch.export.load(path).module()),
}


# Check --------------------------------------------------------------------------------------------------


def check_sides(model: nn.Module, static: bool) -> list[int]:
    """The native size, and an odd one where sizes may vary."""
    native = model.arch.img_size
    return [native] if static else [native, native * 5 // 4 + 1]


def sample_images(model: nn.Module, side: int) -> Tensor:
    """scikit-learn's two photographs as the model expects images, cut to a square."""
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from timm.data import create_transform, resolve_model_data_config

    cfg = resolve_model_data_config(model) | dict(input_size=(3, side, side))
    transform = create_transform(**cfg)
    images = torch.stack([transform(Image.fromarray(image)) for image in load_sample_images().images])
    return images[:, torch.arange(model.in_chans) % 3]


def check(model: nn.Module, run: Run, images: Tensor) -> float:
    """The greatest difference of logits.

    Raises:
        RuntimeError: It is over `TOLERANCE`.
    """
    expected, found = model(images), run(images)
    difference = (found - expected).abs()
    if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise RuntimeError(
            f'the exported model differs by {difference.max():.1e} from logits of up to {expected.abs().max():.1e} '
            f'for images of {images.shape[-2]}x{images.shape[-1]}'
        )
    return difference.max().item()


main = program.entry(export, parse_args)
