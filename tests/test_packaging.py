"""What is installed, what it needs, and that the README's commands exist."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ranet_mm

ROOT = Path(__file__).parents[1]
PAGES = ['README.md', 'configs/ranet/README.md', *(f'docs/{p.name}' for p in sorted((ROOT / 'docs').glob('*.md')))]


def python(*args, cwd):
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the checkout, so that a build leaves nothing behind in it."""
    pytest.importorskip('setuptools')
    target = tmp_path_factory.mktemp('source') / 'ranet_mm'
    anywhere = shutil.ignore_patterns('.*', '__pycache__', '*.egg-info')

    def ignored(folder, names):
        return anywhere(folder, names) | ({'build', 'dist', 'data', 'work_dirs'} if Path(folder) == ROOT else set())

    return shutil.copytree(ROOT, target, ignore=ignored)


@pytest.fixture(scope='module')
def built(source):
    """The package as a wheel would hold it."""
    (source / 'ranet_mm' / '.mim').mkdir()  # left behind by an editable install of long ago
    (source / 'ranet_mm' / '.mim' / 'configs').symlink_to('nowhere')
    python('setup.py', '--quiet', 'build_py', '--build-lib', 'built', cwd=source)
    return source / 'built' / 'ranet_mm'


@pytest.fixture(scope='module')
def metadata(source):
    """Fields of the package's metadata: name -> values."""
    python('setup.py', '--quiet', 'egg_info', '--egg-base', '.', cwd=source)
    lines = (source / 'ranet_mm.egg-info' / 'PKG-INFO').read_text().partition('\n\n')[0].splitlines()
    fields = {}
    for name, _, value in (line.partition(': ') for line in lines):
        fields.setdefault(name, []).append(value)
    return fields


def requirements(metadata, extra=None):
    """Requirements of the package itself, or those that an extra adds."""
    found = map(Requirement, metadata['Requires-Dist'])
    return [r for r in found if (r.marker is None if extra is None else f'"{extra}"' in str(r.marker))]


def files(folder, *patterns):
    return {p.relative_to(folder).as_posix() for pattern in patterns for p in folder.rglob(pattern) if p.is_file()}


def test_wheel_holds_every_module(built):
    expected = {f for f in files(ROOT / 'ranet_mm', '*.py') if not f.startswith('.mim/')}
    assert {f for f in files(built, '*.py') if not f.startswith('.mim/')} == expected


def test_wheel_holds_shipped_weights(built):
    kinds = ('weights/*.safetensors', 'weights/*.json', 'weights/*.md')
    assert files(built, *kinds) == files(ROOT / 'ranet_mm', *kinds)


def test_wheel_holds_the_page_of_a_report(built):
    assert files(built, 'page.*') == {f'lab/report/page.{ending}' for ending in ('css', 'html', 'js')}


@pytest.mark.parametrize('name', ['configs', 'tools'])
def test_wheel_holds_configs_and_tools_for_mim(built, name):
    found = {f for f in files(built / '.mim' / name, '*') if '__pycache__' not in f}
    assert found == {f for f in files(ROOT / name, '*') if '__pycache__' not in f}
    assert not any(p.is_symlink() for p in (built / '.mim' / name).rglob('*'))


def test_wheel_holds_the_model_index(built):
    assert (built / '.mim' / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()


def test_torch_is_the_only_hard_requirement(metadata):
    assert [r.name for r in requirements(metadata)] == ['torch']
    assert metadata['Version'] == [ranet_mm.__version__]
    assert metadata['Requires-Python'] == ['>=3.10']


def test_extras_keep_to_the_maintained_distributions(metadata):
    assert set(metadata['Provides-Extra']) == {
        'timm', 'attend', 'mm', 'seg', 'det', 'export', 'runtimes', 'cluster', 'explain', 'report', 'docs', 'dev',
    }  # fmt: skip
    names = {r.name for r in map(Requirement, metadata['Requires-Dist'])}
    assert not names & {'mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain', 'mmsegmentation', 'mmdet'}
    for extra, name in dict(mm='onedl-mmpretrain', seg='onedl-mmsegmentation', det='onedl-mmdetection').items():
        assert {name, 'onedl-mmengine', 'onedl-mmcv'} <= {r.name for r in requirements(metadata, extra)}


def test_constraints_satisfy_the_requirements(metadata):
    lines = (line.partition('  #')[0].strip() for line in (ROOT / 'constraints.txt').read_text().splitlines())
    pins = {r.name: r for r in map(Requirement, (line for line in lines if line and line[0] != '#'))}
    for requirement in map(Requirement, metadata['Requires-Dist']):
        (pin,) = pins[requirement.name].specifier
        assert pin.operator == '=='
        assert requirement.specifier.contains(pin.version), f'{requirement} excludes the tested {pin}'


def test_readme_names_targets_that_exist():
    targets = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    assert {'train', 'test'} <= set(re.findall(r'\bmake (\w+)', (ROOT / 'README.md').read_text())) <= targets


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r'\]\((?!https?:)([^)#]+)', path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_documentation_lists_every_page():
    linked = set(re.findall(r'\]\(([\w-]+\.md)\)', (ROOT / 'docs' / 'README.md').read_text()))
    assert linked == {p.name for p in (ROOT / 'docs').glob('*.md')} - {'README.md'}


def test_ci_runs_the_commands_of_the_readme():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert {'make train', 'make test', 'make slow', 'make lint'} <= set(
        re.findall(r'^make \w+', script.read_text(), re.MULTILINE)
    )


def test_changelog_describes_this_version():
    assert re.search(
        rf'^## {re.escape(ranet_mm.__version__)} \(\d{{4}}-\d\d-\d\d\)$', (ROOT / 'CHANGELOG.md').read_text(), re.M
    )
