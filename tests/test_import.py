"""What `import ranet_mm` needs and what it brings along, each in a process of its own."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MM = ('mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'mmdet')
OTHERS = ('torchvision', 'sklearn', 'rich', 'safetensors')


def run(code, absent=()):
    """Run code where the packages `absent` are not installed, as far as an import can tell."""
    setup = f'import sys; sys.modules.update(dict.fromkeys({list(absent)})); sys.path.insert(0, {str(ROOT)!r})\n'
    done = subprocess.run([sys.executable, '-c', setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow('processes that import libraries anew')
def test_import_brings_torch_alone():
    code = """if True:
        import json, torch.utils.checkpoint  # the one part of torch that is loaded on demand
        before = {m.partition('.')[0] for m in sys.modules}
        import ranet_mm
        after = {m.partition('.')[0] for m in sys.modules}
        x = torch.zeros(1, 3, 32, 32)
        shape = ranet_mm.RANetFeatures('attention56_cifar', width=0.125).eval()(x).shape
        print(json.dumps([sorted(after - before - set(sys.stdlib_module_names)), shape]))
    """
    brought, shape = json.loads(run(code, absent=('timm', *MM, *OTHERS)))
    assert brought == ['ranet_mm']
    assert shape == [1, 128, 8, 8]


@pytest.mark.slow('processes that import libraries anew')
@pytest.mark.skipif(find_spec('timm') is None, reason='timm is not installed')
def test_timm_without_openmmlab():
    code = """if True:
        import timm, torch, ranet_mm
        model = timm.create_model('attention56_cifar', width=0.125, num_classes=10).eval()
        print(*timm.list_models('attention*'), *model(torch.zeros(1, 3, 32, 32)).shape)
    """
    words = run(code, absent=MM).split()
    assert {'attention56', 'attention92', 'attention56_cifar', 'attention92_cifar'} <= set(words)
    assert words[-2:] == ['1', '10']


@pytest.mark.slow('processes that import libraries anew')
@pytest.mark.skipif(find_spec('mmengine') is None, reason='mmengine is not installed')
def test_mmengine_without_mmpretrain_and_timm():
    code = """if True:
        import torch
        from mmengine.registry import MODELS
        cfg = dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', width=0.125)
        maps = MODELS.build(cfg).eval()(torch.zeros(1, 3, 32, 32))
        print(len(maps), *maps[0].shape)
    """
    assert run(code, absent=('timm', 'mmpretrain', 'mmseg', 'mmdet', 'sklearn')).split() == ['1', '1', '128', '8', '8']


def test_import_leaves_timm_and_openmmlab_alone():
    loaded = run("import ranet_mm; print(*{m.partition('.')[0] for m in sys.modules})").split()
    assert not set(loaded) & {'timm', *MM, *OTHERS}


@pytest.mark.slow('processes that import libraries anew')
@pytest.mark.skipif(find_spec('timm') is None, reason='timm is not installed')
@pytest.mark.parametrize('first', ['import timm, ranet_mm', 'import ranet_mm; from timm.models import create_model'])
def test_timm_knows_the_models_whichever_is_imported_first(first):
    code = f"""if True:
        {first}
        import timm
        model = timm.create_model('attention56_cifar', width=0.125)
        print(isinstance(model, ranet_mm.RANet), *timm.list_models(module='residual_attention'))
    """
    known, *names = run(code, absent=MM).split()
    assert known == 'True'
    assert {'attention56', 'attention92_cifar'} <= set(names)


FOREIGN = ('timm', *MM, *OTHERS, 'matplotlib')
NOT_BY_CONFIGS = ('timm', 'torchvision', 'sklearn', 'mmpretrain', 'mmdet', 'mmseg')
COMMANDS = {
    'models': FOREIGN,
    'configs': FOREIGN,
    'complexity attention56_cifar': FOREIGN,
    'predict none.png': FOREIGN,
    'publish none.pth out': FOREIGN,
    'convert none.pth out.pth': FOREIGN,
    'tables --check': NOT_BY_CONFIGS,
    'train --help': NOT_BY_CONFIGS,
    'sweep --help': FOREIGN,
    'benchmark --help': FOREIGN,
    'card --help': FOREIGN,
}


@pytest.mark.slow('processes that import libraries anew')
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='forks a process for each command')
def test_commands_import_what_they_need():
    code = f"""if True:
        import os, ranet, torch  # which all of them need: imported once for all
        for command in {[*COMMANDS]}:
            if os.fork() == 0:
                try:
                    ranet.main(command.split())
                except SystemExit:
                    pass
                print('', command, *{{m.partition('.')[0] for m in sys.modules}}, sep='|', flush=True)
                os._exit(0)
            os.wait()
    """
    found = [line.split('|')[1:] for line in run(code).splitlines() if line.startswith('|')]
    assert [command for command, *_ in found] == [*COMMANDS]
    unneeded = {command: {*loaded} & {*COMMANDS[command]} for command, *loaded in found}
    assert not {command: modules for command, modules in unneeded.items() if modules}


@pytest.mark.skipif(not hasattr(os, 'openpty'), reason='needs a terminal')
@pytest.mark.parametrize('rank', ['0', '1'])
def test_a_terminal_is_told_before_anything_is_imported_that_takes_long(rank):
    code = """if True:
        import ranet
        class Finder:
            def find_spec(name, path=None, target=None):
                if name == 'ranet_mm':
                    sys.exit(f'stopped before torch: {"torch" not in sys.modules}')
        sys.meta_path.insert(0, Finder)
        ranet.main(['predict', 'none.png'])
    """
    ours, theirs = os.openpty()
    setup = f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
    env = {**os.environ, 'RANK': rank}
    done = subprocess.run(
        [sys.executable, '-c', setup + code], stdout=subprocess.PIPE, stderr=theirs, env=env, check=False
    )
    os.close(theirs)
    told = os.read(ours, 1000).decode().split('\r\n')
    os.close(ours)
    assert told[:-1] == ['ranet predict: loading'] * (rank == '0') + ['stopped before torch: True']
    assert done.stdout == b''


@pytest.mark.slow('processes that import libraries anew')
def test_a_log_is_told_nothing_of_loading():
    done = subprocess.run(
        [sys.executable, '-m', 'ranet', 'models', 'none'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith('error: no model has a name like ')
    assert done.stdout == ''


@pytest.mark.slow('processes that import libraries anew')
@pytest.mark.skipif(not all(map(find_spec, ('timm', 'mmpretrain'))), reason='timm or mmpretrain is not installed')
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='forks a process for each module')
def test_each_module_can_be_imported_first():
    files = sorted((ROOT / 'ranet_mm').rglob('*.py'))
    names = ['.'.join(f.relative_to(ROOT).with_suffix('').parts) for f in files if '.mim' not in f.parts]
    code = f"""if True:
        import os, timm, torch, mmpretrain.models, mmpretrain.datasets
        from importlib import import_module
        broken = []
        for name in {names}:
            if os.fork() == 0:
                import_module(name)
                os._exit(0)
            if os.wait()[1]:
                broken.append(name)
        sys.exit(', '.join(broken) or 0)
    """
    run(code)
