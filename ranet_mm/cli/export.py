"""Export a model to ONNX, OpenVINO, TorchScript or torch.export, and check the file against the model."""

from __future__ import annotations

import copy
import warnings
from argparse import ArgumentError, Namespace
from ast import literal_eval
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import files
from ..deployment import deploy
from ..images import read as read_image
from ..lab import shown
from ..lab.exported import about, describe_onnx, read_graph, read_onnx, write_graph
from ..openvino_graph import converted, quantized
from ..runtimes import words_of
from ..weights import showing
from ..weights.description import agreed, of_checkpoint, own_cfg
from ..weights.fit import fitting
from ..weights.read import read, weights_of
from .program import check_ending, command, option, parse_options

Run = Callable[[Tensor], Tensor]
TOLERANCE = 1e-4  # of logits, relative and absolute
FIXED = ('.xml',)  # formats of one size of images
SCOPES = 'pkg.torch.onnx.name_scopes'  # of a node's metadata: modules from the outermost, and the operator
NO_MODULE = '_empty_nn_module_stack_from_metadata_hook'  # as PyTorch calls it there
EIGHTH = 8  # of the images to calibrate with, every so many are looked at in float32 too


def write_onnx(model: nn.Module, images: Tensor, draft: Path, axes: Mapping[int, str], opset: int) -> None:
    program = torch.onnx.export(
        model, (images,), input_names=['images'], output_names=['logits'], opset_version=opset,
        dynamic_shapes=(axes,), dynamo=True, verbose=False,
    )  # fmt: skip
    for number, node in enumerate(program.model.graph):  # viewers show the module that a node is of
        *_, module = '', *literal_eval(node.metadata_props.get(SCOPES, '[]'))[:-1]
        node.name = f'{module.removeprefix(NO_MODULE)}/{node.op_type}_{number}'.lstrip('/')
        node.metadata_props.pop('pkg.torch.onnx.stack_trace', None)  # has paths of this machine
    program.save(str(draft), external_data=False)


def write_openvino(model: nn.Module, images: Tensor, path: Path, axes: Mapping[int, str], opset: int) -> None:
    write_graph(converted(model, images), path, about(model))


def write_torchscript(model: nn.Module, images: Tensor, draft: Path, axes: Mapping[int, str], opset: int) -> None:
    torch.jit.script(model).save(str(draft))


def write_program(model: nn.Module, images: Tensor, draft: Path, axes: Mapping[int, str], opset: int) -> None:
    shapes = dict.fromkeys(axes, torch.export.Dim.AUTO)
    torch.export.save(torch.export.export(model, (images,), dynamic_shapes=(shapes,)), draft)


FORMATS: dict[str, tuple[Callable[..., None], Callable[[Path], Run]]] = {
    '.onnx': (write_onnx, lambda path: read_onnx(path)[0]),
    '.pt': (write_torchscript, lambda path: torch.jit.load(str(path))),
    '.pt2': (write_program, lambda path: torch.export.load(path).module()),
    '.xml': (write_openvino, lambda path: read_graph(path)[0]),
}


@command(
    option('model', help='name in timm, as in attention56_cifar or attention56_cifar.cifar10'),
    option('out', type=Path, help=f'file to write; its ending chooses the format: {", ".join(FORMATS)}'),
    option('--pretrained', action='store_true', help='with the weights of that name'),
    '--checkpoint',
    '--overwrite',
    option(
        '--deploy', action='store_true', help='with normalization folded into the convolutions: the same logits, faster'
    ),
    option(
        '--int8',
        nargs='+',
        metavar='IMAGE',
        help='in 8-bit integers (.xml alone), whose ranges are those of these training images, as in a folder of them',
    ),
    option('--num-classes', type=int, help="classes (the variant's own by default)"),
    option('--model-kwargs', nargs='*', default=[], metavar='KEY=VALUE', help='change the model'),
    option('--opset', type=int, default=18, help='version of the ONNX operators, 18 or later'),
    option('--static', action='store_true', help='fix the size of the images; the batch stays dynamic'),
    option('--sizes', type=int, nargs='+', help='sides of the images to check with, in pixels'),
)
def main(args: Namespace) -> None:
    """Build, write, check, and say where the file is."""
    check_ending('out', args.out, list(FORMATS))
    if args.opset < 18:
        raise ArgumentError(None, f'--opset {args.opset} is not allowed: it must be 18 or later')
    if args.pretrained and args.checkpoint:
        raise ArgumentError(None, '--pretrained and --checkpoint exclude each other')
    if args.int8 and args.out.suffix != '.xml':
        raise ArgumentError(None, f'--int8 is not allowed with {str(args.out)!r}: it needs a file that ends in .xml')
    if args.out.suffix == '.xml':
        words_of('int8' if args.int8 else 'openvino')
    for file in [args.out, *[args.out.with_suffix('.bin')] * (args.out.suffix == '.xml')]:
        if file.exists() and not args.overwrite:
            raise FileExistsError(f'{str(file)!r} exists: --overwrite replaces it')
    model = build(args)
    form = deploy(copy.deepcopy(model)) if args.deploy else model
    (write_int8 if args.int8 else write_exact)(model, form, args)
    print(f'written and checked: {args.out}')


def write_exact(model: nn.Module, form: nn.Module, args: Namespace) -> None:
    """Write the model in a form, and say by how much the file's logits differ from the model's."""
    side = model.arch.img_size
    if args.static or args.out.suffix in FIXED or model.head.global_pool.pool_type == 'flatten':
        axes, shape, sides = {0: 'batch'}, (side, side), [side]
    else:  # traced with images that are not square, and checked at an odd size too
        axes, shape, sides = {0: 'batch', 2: 'height', 3: 'width'}, (96, 64), [side, side * 5 // 4 + 1]
    images = torch.randn(2, model.in_chans, *shape)  # of one, the batch would be taken for fixed
    write, load = FORMATS[args.out.suffix]
    place = nullcontext(args.out) if args.out.suffix in FIXED else files.whole(args.out)  # the former is two files
    with warnings.catch_warnings(), torch.no_grad(), place as draft:
        warnings.simplefilter('ignore')  # about the exporters' own future
        write(form, images, draft, axes, args.opset)
        if args.out.suffix == '.onnx':
            describe_onnx(draft, about(model))
        run = load(draft)
        for side in args.sizes or sides:
            print(f'{side}x{side}: logits differ by at most {check(model, run, sample_images(model, side)):.1e}')


@torch.no_grad()
def write_int8(model: nn.Module, form: nn.Module, args: Namespace) -> None:
    """Write the form in 8-bit integers, and say how often the file classifies as the model does."""
    images = shown.calibration(model, args.int8, read_image)
    write_graph(quantized(converted(form, images), images), args.out, about(model))
    some = images[::EIGHTH]
    alike = (read_graph(args.out)[0](some).argmax(1) == model(some).argmax(1)).sum()
    print(f'{len(images)} images to calibrate with; {alike} of {len(some)} of them get the class that float32 gives')


def build(args: Namespace) -> nn.Module:
    """The model with its weights, in evaluation mode."""
    import timm

    options = dict(pretrained=args.pretrained, num_classes=args.num_classes, scriptable=True)
    kwargs = parse_options(args.model_kwargs)
    if not args.checkpoint:
        return timm.create_model(args.model, **options, **kwargs).eval()
    checkpoint = read(args.checkpoint)
    state, _ = weights_of(checkpoint)
    about, state = showing.in_rgb(of_checkpoint(checkpoint, state), state)
    kwargs = agreed(args.model, kwargs, about, args.checkpoint)
    options['num_classes'] = args.num_classes or about['pretrained_cfg'].get('num_classes')
    model = timm.create_model(args.model, pretrained_cfg_overlay=own_cfg(about), **options, **kwargs)
    model.load_state_dict(fitting(state, model))
    model.description = about
    return model.eval()


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
