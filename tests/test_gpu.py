"""On a GPU: what runs on a CPU runs there, gives the same, and waits for nothing.

`GPU_TESTS_ON=cpu` rehearses them where there is none.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip('mmpretrain')

from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from test_device_data import AUGMENTS, MIX, NORM, PACK, device_data, pictures

from ranet_mm.cli import test, train
from ranet_mm.layers import MaxPool
from ranet_mm.mm.data.device import DevicePreprocessor
from ranet_mm.mm.engine.loops import ResumableTrainLoop
from ranet_mm.mm.models.backbone import ResidualAttentionNet
from ranet_mm.network import RANetFeatures

DEVICE = os.environ.get('GPU_TESTS_ON', 'cuda')
ON_GPU = DEVICE == 'cuda'
pytestmark = pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason='there is no GPU here')
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # read when the first matrices are multiplied

ROOT = Path(__file__).parents[1]
SMALL = dict(arch='attention56_cifar', width=0.25)


@pytest.fixture(autouse=True)
def _as_before():
    """What a run sets for its process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode('default')
        torch.set_autocast_dtype('cuda', torch.float16)


def state_of(path):
    return torch.load(path, map_location='cpu', weights_only=False)  # of a run of these tests


@contextmanager
def no_waiting():
    """An error where the processor waits for the device."""
    if ON_GPU:
        torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode('default')


class TestBare:
    """The network alone, in a loop of plain PyTorch."""

    @pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16] if ON_GPU else [torch.bfloat16])
    @pytest.mark.parametrize('compiled', [False, True])
    def test_steps_lower_the_loss(self, dtype, compiled):
        torch.manual_seed(0)
        model = RANetFeatures(**{**SMALL, 'width': 0.125}).to(DEVICE, memory_format=torch.channels_last)
        head = torch.nn.Linear(128, 10).to(DEVICE)
        if compiled:  # one unit: the runner's test compiles them all
            model.stages[0][0].compile(backend='inductor' if ON_GPU else 'eager')
        optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], 0.1, momentum=0.9)
        scaler = torch.amp.GradScaler(DEVICE, enabled=dtype == torch.float16)
        images = torch.randn(16, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)
        labels, losses = torch.randint(10, (16,), device=DEVICE), []
        for _ in range(40):
            with torch.autocast(DEVICE, dtype):
                features = model(images)
                loss = F.cross_entropy(head(features.mean((2, 3))), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert features.is_contiguous(memory_format=torch.channels_last) and features.dtype == dtype
        assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0]

    def test_logits_of_the_processor(self):
        """In float32 without TF32, to 1e-4 of the largest."""
        torch.manual_seed(0)
        model = RANetFeatures(**SMALL).eval()
        images = torch.randn(4, 3, 32, 32)
        allowed = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        try:
            with torch.no_grad():
                expected = model(images)
                for order in (torch.contiguous_format, torch.channels_last):
                    found = model.to(DEVICE, memory_format=order)(images.to(DEVICE)).cpu()
                    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed

    def test_imagenet_size_and_recomputation(self):
        """Attention-56 at 224 pixels trains; recomputing activations needs at most two thirds of the memory."""
        peaks, gradients = [], []
        for with_cp in (False, True):
            torch.manual_seed(0)
            width = 1.0 if ON_GPU else 0.125
            model = ResidualAttentionNet('attention56', with_cp=with_cp, width=width).to(DEVICE).train()
            images = torch.randn(8 if ON_GPU else 1, 3, 224, 224, device=DEVICE)
            if ON_GPU:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            with torch.autocast(DEVICE, torch.bfloat16):
                (maps,) = model(images)
                maps.float().square().mean().backward()
            assert maps.shape[2:] == (7, 7)
            gradients.append(model.stem.conv.weight.grad.float().cpu())
            peaks.append(torch.cuda.max_memory_allocated() if ON_GPU else 1 / (1 + 2 * with_cp))
            del model, maps, images
        assert peaks[1] < 2 / 3 * peaks[0]
        assert F.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > 0.98

    @pytest.mark.parametrize('side', [7, 8, 1])
    def test_pooling_that_is_deterministic(self, side):
        torch.manual_seed(0)
        pool, (a, b) = MaxPool(), torch.randn(2, 2, 3, side, side, device=DEVICE)
        b = a.clone()
        a.requires_grad_()
        b.requires_grad_()
        plain, fixed = pool(a), pool._deterministic(b)
        assert torch.equal(plain, fixed)
        weight = torch.randn_like(plain)
        (plain * weight).sum().backward()
        (fixed * weight).sum().backward()
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


class TestData:
    @pytest.mark.parametrize('mixed', [False, True])
    def test_pictures_of_the_processor_byte_for_byte(self, mixed):
        trivial = dict(type='torchvision/TrivialAugmentWide')
        plain = dict(type='RandomErasing', erase_prob=0.5)
        pipeline = [*AUGMENTS[:2], dict(type='ranet_mm.AlternatingFlip'), dict(type='Cutout', shape=8), trivial, plain]
        data = device_data(dict(type='ranet_mm.Digits', split='test', pipeline=[*pipeline, PACK]))
        options = dict(NORM, mean=None, std=None, **(dict(batch_augments=MIX) if mixed else {}))
        options = {name: value for name, value in options.items() if value is not None}
        there, here = (DevicePreprocessor(**options).to(device) for device in (DEVICE, 'cpu'))
        found, expected = (pictures(data, made, epoch=1) for made in (there, here))
        assert len(expected) == 360
        for index, (image, label) in expected.items():
            other, other_label = found[index]
            assert torch.equal(other.cpu(), image) if not mixed else torch.allclose(other.cpu(), image, atol=1e-3)
            assert torch.allclose(other_label.float().cpu(), label.float(), atol=1e-5)


class TestRunner:
    @pytest.mark.parametrize(
        ('recipe', 'options'),
        [
            ('best', ['optim_wrapper.clip_grad.max_norm=1.0']),
            ('fast', ['compile=True' if ON_GPU else 'compile.backend=eager']),
        ],
    )
    def test_steps_in_bfloat16_wait_for_nothing(self, device_config, options, recipe, monkeypatch, capsys):
        """With averages, mixing and strong augmentation, and with compiled units."""
        run_iter, steps = ResumableTrainLoop.run_iter, []

        def strict(self, *args):
            steps.append(None)
            with no_waiting() if len(steps) > 3 else contextmanager(lambda: iter([None]))():  # the first ones compile
                run_iter(self, *args)

        monkeypatch.setattr(ResumableTrainLoop, 'run_iter', strict)
        assert train.main([device_config(recipe), '--debug', '--cfg-options', *options]) == 0
        folder = Path(f'work_dirs/{recipe}_tiny')
        log = next(folder.glob('2*/*.log')).read_text()
        assert not ON_GPU or 'Training in bfloat16 on cuda' in log
        record = json.loads((folder / 'record.json').read_text())
        losses = [point['loss'] for point in record['curve']]
        assert len(losses) == 6 and np.isfinite(losses).all()
        assert record['curve'][-1]['accuracy/top1'] == record['test']['accuracy/top1']  # of the ordinary pipeline
        saved = state_of(folder / 'epoch_6.pth')
        assert ('ema_state_dict' in saved) == (recipe == 'best')
        assert not any('_orig_mod' in key for key in saved['state_dict'])

    @pytest.mark.skipif(not ON_GPU, reason='loss scaling is for GPUs')
    def test_float16_with_loss_scaling(self, device_config):
        options = ['optim_wrapper.type=AmpOptimWrapper', 'optim_wrapper.dtype=float16', 'train_cfg.max_epochs=6']
        assert train.main([device_config('fast'), '--debug', '--cfg-options', *options]) == 0
        saved = state_of('work_dirs/fast_tiny/epoch_6.pth')
        assert saved['optimizer']['loss_scaler']['scale'] > 0
        assert all(value.isfinite().all() for value in saved['state_dict'].values())

    def test_resumed_in_an_epoch_bit_for_bit(self, device_config, monkeypatch):
        """Deterministic, with averages and mixing: the weights, the averages and the optimizer of the whole run."""
        crop_and_flip = device_config(
            'best',
            'randomness = dict(seed=0, deterministic=True)\n'
            "train_dataloader['dataset']['dataset']['pipeline'] = [load, *_base_.train_pipeline]\n",
        )
        assert train.main([crop_and_flip, '--work-dir', 'whole', '--debug']) == 0
        run_iter = ResumableTrainLoop.run_iter

        def interrupted(self, index, batch):
            if self.iter == 7:  # the second of three steps of an epoch
                signal.raise_signal(signal.SIGTERM)
            run_iter(self, index, batch)

        with monkeypatch.context() as patch:
            patch.setattr(ResumableTrainLoop, 'run_iter', interrupted)
            assert train.main([crop_and_flip, '--work-dir', 'cut', '--debug']) == 130
        assert train.main([crop_and_flip, '--work-dir', 'cut', '--resume', '--debug']) == 0
        whole, cut = (state_of(f'{folder}/epoch_6.pth') for folder in ('whole', 'cut'))
        for part in ('state_dict', 'ema_state_dict'):
            assert all(torch.equal(value, cut[part][key]) for key, value in whole[part].items())
        for key, state in whole['optimizer']['state'].items():
            assert torch.equal(state['momentum_buffer'], cut['optimizer']['state'][key]['momentum_buffer'])

    def test_evaluation_in_the_precision_of_training(self, device_config, monkeypatch):
        assert train.main([device_config('fast'), '--debug']) == 0
        seen, forward = [], ResidualAttentionNet.forward

        def noted(self, x):
            maps = forward(self, x)
            seen.append(maps[-1].dtype)
            return maps

        monkeypatch.setattr(ResidualAttentionNet, 'forward', noted)
        checkpoint = 'work_dirs/fast_tiny/epoch_6.pth'
        for options, dtype in (([], torch.float32), (['--amp'], torch.bfloat16)):
            seen.clear()
            assert (
                test.main([device_config('fast'), checkpoint, '--out', 'm.json', '--out-item', 'metrics', *options])
                == 0
            )
            assert set(seen) == {dtype if ON_GPU else seen[0]}
            assert 0 <= json.loads(Path('m.json').read_text())['accuracy/top1'] <= 100

    def test_one_process_of_nccl(self, device_config):
        env = dict(os.environ, RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='29517')
        command = [
            sys.executable,
            str(ROOT / 'tools/train.py'),
            device_config('fast'),
            '--launcher',
            'pytorch',
            '--debug',
        ]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert 'Trained fast_tiny' in done.stdout
        assert json.loads(Path('work_dirs/fast_tiny/record.json').read_text())['processes'] == 1

    def test_the_shipped_weights_answer_alike(self):
        from ranet_mm import weights

        name = next(iter(weights.index()))
        if not Path(weights.index()[name]['file']).is_file():
            pytest.skip('the weights are not in this checkout')
        timm = pytest.importorskip('timm')
        model = timm.create_model(name, pretrained=True).eval()
        images = torch.randn(8, 3, 32, 32, generator=torch.manual_seed(0))
        with torch.no_grad():
            expected = model(images).softmax(1)
            found = model.to(DEVICE)(images.to(DEVICE)).softmax(1).cpu()
        assert (found - expected).abs().max() < 5e-3  # TF32 where the device has it


def test_the_models_of_configs_are_on_the_device(device_config):
    from mmengine.config import Config

    cfg = Config.fromfile(device_config('fast'))
    runner = Runner(MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}), 'here')
    assert next(runner.model.parameters()).device.type == DEVICE
    assert runner.model.data_preprocessor.mean.device.type == DEVICE
