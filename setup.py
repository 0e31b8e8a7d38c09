"""Packaging of ranet_mm; settings of the tools are in pyproject.toml."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent

MM = ['onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6', 'torchvision>=0.22', 'matplotlib', 'rich', 'safetensors']
EXPORT = ['onnxscript', 'onnxruntime', 'scikit-learn>=1.5']
RUNTIMES = ['onnxscript', 'onnxruntime', 'openvino>=2025.0', 'nncf>=2.16']
CLUSTER = ['submitit>=1.5']
EXPLAIN = ['captum>=0.7', 'grad-cam>=1.5', 'torchinfo']
TIMM = ['timm>=1.0.25', 'safetensors', 'tqdm']
REPORT = ['plotly>=6', 'jinja2', 'matplotlib', 'scikit-learn>=1.5']
DOCS = ['mkdocs-material>=9.6', 'mkdocstrings[python]>=0.30']
TRACKERS = ['mlflow-skinny>=3', 'tensorboard', 'wandb']
EXTRAS = {
    'timm': TIMM,
    'attend': [*TIMM, 'matplotlib'],
    'mm': [*MM, 'onedl-mmpretrain>=1.3.6', 'scikit-learn>=1.5'],
    'seg': [*MM, 'onedl-mmsegmentation>=1.4.2'],
    'det': [*MM, 'onedl-mmdetection>=3.5.1'],
    'export': EXPORT,
    'runtimes': RUNTIMES,
    'cluster': CLUSTER,
    'explain': EXPLAIN,
    'report': REPORT,
    'docs': DOCS,
    'dev': [
        *EXPORT,
        *RUNTIMES,
        *CLUSTER,
        *EXPLAIN,
        *REPORT,
        *DOCS,
        *TRACKERS,
        'hypothesis>=6',
        'modelindex',
        'playwright',
        'pytest>=8',
        'pytest-timeout>=2',
        'pytest-xdist>=3',
        'ruff>=0.14',
        'setuptools>=70.1',
    ],
}


class BuildWithMim(build_py):
    """Put configs, tools and the model index where OpenMMLab looks for them: in `.mim` inside the package.

    A wheel gets copies; an editable install gets links, so that each file exists once in the checkout.
    """

    CONTENTS = ('configs', 'tools', 'model-index.yml')

    def run(self) -> None:
        super().run()
        place = _link if self.editable_mode else _copy
        target = (ROOT if self.editable_mode else Path(self.build_lib)) / 'ranet_mm' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in self.CONTENTS:
            place(ROOT / name, target / name)


def _link(source: Path, target: Path) -> None:
    target.symlink_to(Path('..', '..', source.name), target_is_directory=source.is_dir())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
    else:
        shutil.copyfile(source, target)


def version() -> str:
    return re.search(r"^__version__ = '(.+)'$", (ROOT / 'ranet_mm' / '__init__.py').read_text(), re.M)[1]


setup(
    name='ranet_mm',
    version=version(),
    description='Residual Attention Networks for timm and OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10',
    packages=find_packages(include=['ranet_mm', 'ranet_mm.*']),
    py_modules=['ranet'],  # the console command, outside the package, whose import brings torch
    entry_points={'console_scripts': ['ranet = ranet:main']},
    package_data={'ranet_mm': ['weights/*.safetensors', 'weights/*.json', 'weights/*.md', 'lab/report/page.*']},
    include_package_data=False,
    install_requires=['torch>=2.7'],
    extras_require=EXTRAS,
    cmdclass={'build_py': BuildWithMim},
    keywords='residual attention network, image classification, timm, OpenMMLab, PyTorch',
    classifiers=[
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
