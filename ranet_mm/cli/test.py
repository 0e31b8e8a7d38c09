"""Evaluate a checkpoint."""

from __future__ import annotations

import time
from argparse import ArgumentError, Namespace
from copy import deepcopy
from pathlib import Path
from typing import Any

from .. import files
from ..lab.predictions import ENDINGS, dump
from ..mm import config
from ..mm.data.switches import datasets
from ..runtimes import RUNTIMES, words_of
from .program import check_ending, command, is_main_process, option, run_options

MEANS = ('single-label/', 'multi-label/')  # metrics of mmpretrain that are means over all classes


@command(
    run_options,
    option('checkpoint', help='checkpoint file'),
    option('--out', metavar='FILE', help='write predictions (as --dump) or metrics (.json) to this file'),
    option('--out-item', choices=['metrics', 'pred'], help='what --out writes, predictions by default'),
    option('--dump', metavar='FILE',
           help="write predictions as arrays (.npz) or as mmpretrain's tools read them (.pkl)"),
    option('--tta', action='store_true', help='average the scores of each image and of its mirror image'),
    option('--show-dir', metavar='DIR', help='write the images with their predictions to this folder'),
    option('--runtime', choices=RUNTIMES, default='eager',
           help='what computes the logits of a classifier, as in predict; int8 is calibrated with images of the '
           "config's training set"),
    option('--interval', type=int, default=1, help='with --show-dir, draw every n-th image'),
)  # fmt: skip
def main(args: Namespace) -> None:
    """Evaluate, then print one summary line and where things were written."""
    if args.out_item and not args.out:
        raise ArgumentError(None, '--out-item needs --out')
    if args.show_dir and args.tta:
        raise ArgumentError(None, '--show-dir does not go with --tta, which sees each image twice')
    dumps = {'--dump': args.dump, '--out': None if args.out_item == 'metrics' else args.out}
    dumps = {name: path for name, path in dumps.items() if path}
    for name, path in dumps.items():
        check_ending(name, path, ENDINGS, 'predictions need a name that ends')
    words_of(args.runtime)
    if args.amp and args.runtime != 'eager':
        raise ArgumentError(None, f'--amp does not go with --runtime {args.runtime}, which has a precision of its own')
    cfg = configure(args)
    from ..mm.engine import launch
    from ..mm.engine.workdir import shown

    runner = config.build_runner(cfg)
    for path in dumps.values():
        metric = dump(path)
        metric.dataset_meta = runner.test_evaluator.dataset_meta
        runner.test_evaluator.metrics.append(metric)
    started = time.perf_counter()
    metrics = runner.test()
    seconds = time.perf_counter() - started
    if is_main_process():
        if args.out_item == 'metrics':
            files.write_json(args.out, metrics, default=plain)
        print(summary(runner, metrics, seconds))
        print(f'Written to {", ".join([f"{shown(runner.log_dir)}/", *filter(None, (args.dump, args.out))])}')
    launch.leave()


parse_args = main.parse_args


def configure(args: Namespace) -> config.Config:
    """The config with the command line's options applied.

    Raises:
        FileNotFoundError: The config file or the checkpoint does not exist.
        ValueError: The checkpoint cannot be read, or the config has nothing to test on.
    """
    from ..weights.read import read

    cfg = config.load_config(args)
    if not cfg.get('test_dataloader'):
        raise ValueError(f'config file {args.config!r} has no test_dataloader')
    if '://' not in args.checkpoint:
        read(args.checkpoint)  # to its end, so that a wrong file is refused before anything is built
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = fast_in_half()
    if args.show_dir:
        draw_predictions(cfg, args.show_dir, args.interval)
    if args.runtime != 'eager':
        set_runtime(cfg, args.runtime)
    if args.tta:
        add_tta(cfg)
    return cfg


def set_runtime(cfg: config.Config, runtime: str) -> None:
    """Have another form or library compute the logits; `int8` sees training images by the test pipeline for it.

    Raises:
        ValueError: The config is of another library, or has no training set to calibrate with.
    """
    scope = cfg.get('default_scope', 'mmpretrain')
    if scope != 'mmpretrain':
        raise ValueError(f'--runtime {runtime} is not allowed here: a config of {scope} is of no classifier')
    hook = dict(type='ranet_mm.RuntimeHook', form=runtime)
    if runtime == 'int8':
        if not cfg.get('train_dataloader'):
            raise ValueError('--runtime int8 is not allowed here: the config has no train_dataloader to calibrate with')
        ((_, dataset),) = datasets(cfg, ['train_dataloader'])
        hook['calibration'] = dict(deepcopy(dataset), pipeline=deepcopy(cfg.test_dataloader.dataset.pipeline))
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def draw_predictions(cfg: config.Config, folder: str, interval: int) -> None:
    """Have a test write its images with their predictions; each library's hook takes other arguments."""
    scope = cfg.get('default_scope', 'mmpretrain')
    if scope == 'mmdet':
        target = str(Path(folder).absolute())  # otherwise it lands below the work dir
        hook = dict(type='DetVisualizationHook', draw=True, interval=interval, test_out_dir=target)
    elif scope == 'mmseg':
        hook = dict(type='SegVisualizationHook', draw=True, interval=interval)
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend', save_dir=folder, img_save_dir='.')]
    else:
        hook = dict(type='VisualizationHook', enable=True, out_dir=folder, interval=interval)
    cfg.default_hooks.visualization = hook


def fast_in_half() -> bool:
    """Have MMEngine's autocast compute in the format that training uses here; says so where there is none."""
    import torch
    from mmengine.device import get_device

    from ..mm.engine.optim import amp_dtype

    device = get_device()
    dtype = amp_dtype(device)
    half = dtype != torch.float32
    if half:
        torch.set_autocast_dtype(device, dtype)  # it would be float16 on a GPU
    else:
        print('--amp: this CPU has no 16-bit arithmetic, evaluating in float32')
    return half


def add_tta(cfg: config.Config) -> None:
    """Test-time augmentation of the config's own, or else flips, as in mmpretrain.

    Raises:
        ValueError: The config is of another library, and has none of its own.
    """
    scope = cfg.get('default_scope', 'mmpretrain')
    if scope != 'mmpretrain' and not ('tta_model' in cfg and 'tta_pipeline' in cfg):
        raise ValueError(f'--tta is not allowed here: a config of {scope} needs a tta_model and a tta_pipeline for it')
    cfg.setdefault('tta_model', dict(type='mmpretrain.AverageClsScoreTTA'))
    if 'tta_pipeline' not in cfg:
        *load, pack = deepcopy(cfg.test_dataloader.dataset.pipeline)
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        cfg.tta_pipeline = [*load, dict(type='TestTimeAug', transforms=[flips, [pack]])]
    if own := cfg.model.get('data_preprocessor'):  # else MMEngine puts that of the whole config in its place
        cfg.tta_model.setdefault('data_preprocessor', own)
    cfg.model = dict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def plain(value: Any) -> Any:
    """A number or an array of a metric, a confusion matrix for one, as JSON has it."""
    return value.tolist() if hasattr(value, 'tolist') else float(value)


def summary(runner: config.Runner, metrics: dict[str, float], seconds: float) -> str:
    """One line: scores, number of images, speed."""
    from ..mm.engine.console import images_per_second, run_name, scores

    dataset = runner.test_dataloader.dataset
    images = len(dataset)
    return (
        f'Tested {run_name(runner)}: {scores(metrics)} on {images} images, '
        f'{seconds:.0f} s at {images_per_second(images / seconds)}' + note(dataset, metrics)
    )


def note(dataset: Any, metrics: dict[str, float]) -> str:
    """How mmpretrain's means over classes count those that no image shows."""
    from ..mm.data.by_name import absent, listed

    missing = absent(dataset) if any(name.startswith(MEANS) for name in metrics) else []
    return f'; means over classes count 0 for those without images: {listed(missing)}' if missing else ''
