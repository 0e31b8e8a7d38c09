"""What this package changes outside itself, all of it.

`import ranet_mm` calls `list_models`: timm then knows the variants, and mmpretrain the models of `model-index.yml`, in
`create_model`, `load_checkpoint`, `get_model`, `list_models` and the inferencers. It does so at once where they have
been imported, and else when they are, for which finders on `sys.meta_path` wait; so `import ranet_mm` brings torch
alone. mmpretrain's inferencers leave reading to a pipeline that begins with `ranet_mm.LoadImage`, see `read_images`;
others read as before.

`ranet_mm.registry`, which MMEngine imports when a config first names the scope `ranet_mm`, calls `read_safely`:
MMEngine then reads local checkpoints by `weights.read`, and `ranet_mm://NAME` from what ships with the package. It
calls `write_safely` too: what MMEngine writes to local files by its storage backend, checkpoints above all, is there
whole or not at all.

`ranet_mm.images`, once it has read an image, keeps Pillow's `DecompressionBombWarning` from being shown: images of 89
to 179 million pixels are read, and larger ones are refused.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, NoReturn

from . import files
from .network import RANetFeatures
from .weights import fit, index, showing, verify
from .weights.description import PLAIN, computed, contradictions, images_of, network_of, of_checkpoint, own_cfg
from .weights.keys import BACKBONE, like, of_classifier
from .weights.read import ABOUT, read, weights_of

PACKAGE = Path(__file__).parent
SCHEME = 'ranet_mm://'
TIMM, HUB = 'timm.models', 'mmpretrain.apis.model'
CLASSIFIER = 'mmpretrain.models.classifiers.image'
CLASSIFICATION = 'mmpretrain.apis.image_classification'
# Those of mmpretrain's inferencers that read images by themselves, each in a module of its own.
INFERENCERS = {
    CLASSIFICATION: 'ImageClassificationInferencer',
    'mmpretrain.apis.feature_extractor': 'FeatureExtractor',
    'mmpretrain.apis.image_retrieval': 'ImageRetrievalInferencer',
}
IMAGES = 'images'  # what weights say of theirs, beside the network, in the metadata that go with them
NO_WEIGHTS = 'ranet_mm-none://'


def list_models() -> None:
    """Make the models known to timm and to mmpretrain, now or as soon as they are imported."""
    when_imported(TIMM, _extend_timm)
    when_imported(HUB, _register)
    for module in INFERENCERS:
        when_imported(module, read_images)
    when_imported(CLASSIFIER, _compare_images)


def when_imported(name: str, then: Callable[[ModuleType], Any]) -> None:
    """Call `then` with a module, now or as soon as it is imported."""
    if name in sys.modules:
        then(sys.modules[name])
    elif not any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, then))


class _Finder(MetaPathFinder):
    """Waits for one module to be imported; of others it knows nothing."""

    def __init__(self, name: str, then: Callable[[ModuleType], Any]) -> None:
        self.name, self.then = name, then

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_then(module: ModuleType) -> None:
            execute(module)
            self.then(module)

        spec.loader.exec_module = execute_then
        return spec


def _register(module: ModuleType) -> None:
    """Register the models, if they are not yet; those without weights get an address that says so when it is loaded."""
    from mmengine.runner import CheckpointLoader

    read_safely()
    hub, root = module.ModelHub, root_folder()
    if hub.has('att56_cifar10'):
        return
    before = set(hub._models_dict)
    hub.register_model_index(root / 'model-index.yml', config_prefix=root)
    ours = {name: info for name, info in hub._models_dict.items() if name not in before}
    with_weights = [name for name, info in ours.items() if info.weights]
    for name, info in ours.items():
        info.weights = info.weights or NO_WEIGHTS + name

    def load_from_nowhere(filename: str, map_location: Any = None) -> NoReturn:
        raise ValueError(
            f'{filename.removeprefix(NO_WEIGHTS)!r} has no pretrained weights; models that have some: '
            f'{", ".join(sorted(with_weights))}. Set pretrained to False, or to your own checkpoint'
        )

    CheckpointLoader.register_scheme(NO_WEIGHTS, load_from_nowhere, force=True)


def read_images(module: ModuleType) -> None:
    """Have an inferencer of mmpretrain leave the reading of files to a pipeline that does it, and only to such a one.

    By itself it reads by OpenCV, whatever the pipeline begins with, both what it classifies and what it draws on.
    """
    kind = getattr(module, INFERENCERS[module.__name__])
    if hasattr(kind.preprocess, '__wrapped__'):
        return
    preprocess, visualize = kind.preprocess, kind.visualize

    @wraps(preprocess)
    def read_by_pipeline(self: Any, inputs: Sequence[Any], batch_size: int = 1) -> Iterator[Any]:
        if not reads_files(self):
            return preprocess(self, inputs, batch_size)
        samples = (dict(img_path=str(i)) if is_path(i) else dict(img=module.imread(i)) for i in inputs)
        return super(kind, self).preprocess(samples, batch_size)

    @wraps(visualize)
    def draw_on_copies(self: Any, inputs: Sequence[Any], preds: Any, *args: Any, **kwargs: Any) -> Any:
        if not (reads_files(self) and (args or kwargs)):  # else nothing is drawn
            return visualize(self, inputs, preds, *args, **kwargs)
        with TemporaryDirectory() as folder:
            return visualize(self, copies(inputs, self.pipeline.transforms[0], Path(folder)), preds, *args, **kwargs)

    kind.preprocess = read_by_pipeline
    if module.__name__ == CLASSIFICATION:
        kind.visualize = draw_on_copies


def reads_files(inferencer: Any) -> bool:
    """Whether an inferencer's pipeline begins with a transform that reads the file which `img_path` names."""
    return any(getattr(transform, 'reads_files', False) for transform in inferencer.pipeline.transforms[:1])


def is_path(given: Any) -> bool:
    return isinstance(given, str | PathLike)


def copies(inputs: Sequence[Any], load: Callable[[dict], dict], folder: Path) -> list[Any]:
    """The same images, those in files as PNG files of the same names that any reader reads as `load` read them."""
    from PIL import Image

    found = list(inputs)
    for number, given in enumerate(inputs):
        if is_path(given):
            found[number] = str(folder / str(number) / f'{Path(given).stem}.png')
            Path(found[number]).parent.mkdir()
            Image.fromarray(load(dict(img_path=str(given)))['img'].astype('uint8')).save(found[number])
    return found


def _extend_timm(module: ModuleType) -> None:
    """Register the models, and have `load_checkpoint` listen to what a file says of one of them.

    It compares the networks, and takes over what is said of images and classes. So does `checkpoint_path` of
    `create_model`, and `validate.py` of timm's scripts; else options without parameters and another normalization would
    go unseen.
    """
    import_module('ranet_mm.timm.residual_attention')
    if hasattr(module.load_checkpoint, '__wrapped__'):
        return
    places = [import_module(f'{TIMM}.{name}') for name in ('_helpers', '_factory')]
    load = module.load_checkpoint

    @wraps(load)
    def compare_and_load(model: Any, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        asked = isinstance(model, RANetFeatures) and kwargs.get('weights_only', True)  # else a file may be of any kind
        said = _said(model, checkpoint_path) if asked else {}
        found = load(model, checkpoint_path, *args, **kwargs)
        if said:
            model.pretrained_cfg = model.default_cfg = {**model.pretrained_cfg, **said}
        return found

    for place in (module, *places):
        place.load_checkpoint = compare_and_load


def _said(model: RANetFeatures, file: Any) -> dict[str, Any]:
    """Fields of timm's pretrained configuration that a file tells.

    Raises:
        ValueError: The file is of another network.
    """
    checkpoint = read(file)
    differences = contradictions(computed(model.arch), network_of(checkpoint), left_out=PLAIN)
    fit.check(f'weights {str(file)!r} are of another network', differences)
    about = of_checkpoint(checkpoint, weights_of(checkpoint)[0])
    return own_cfg(about) if about['architecture'] else {}


def _compare_images(module: ModuleType) -> None:
    """Have mmpretrain's classifier compare its normalization and its kind of labels with those that weights tell of.

    So `get_model` and the inferencers refuse weights of others; a runner's `CheckpointGuardHook` compares more, and
    allows fine-tuning. Around a backbone of ours it takes the keys of timm's model too, of which MMEngine would only
    print that none fits.
    """
    load = module.ImageClassifier._load_from_state_dict

    def compare_and_load(self: Any, state: dict, prefix: str, metadata: Mapping[str, Any], *args: Any) -> None:
        if said := metadata.get(IMAGES):
            given, head = self.data_preprocessor, type(getattr(self, 'head', None)).__name__
            means = {k: getattr(given, k).flatten().tolist() for k in ('mean', 'std') if hasattr(given, k)}
            asked = dict(data_preprocessor=means, exclusive=showing.exclusive(head))
            differences = showing.contradictions(asked, dict(said, pipeline=None))
            fit.check('weights are of other images or labels', differences)
        if not prefix and isinstance(self.backbone, RANetFeatures):
            named = like(self.state_dict().keys(), dict(state))
            state.clear()
            state.update(named)
        load(self, state, prefix, metadata, *args)

    module.ImageClassifier._load_from_state_dict = compare_and_load


def read_safely() -> None:
    """Have MMEngine read files by the package's own reader, in resuming, `load_from` and `init_cfg` alike.

    MMEngine 0.10.7 by itself cannot resume with PyTorch 2.6 or later, and the maintained release runs the code in a
    file that it cannot read safely. Neither reads safetensors, or knows what ships with the package.
    """
    from mmengine.runner import CheckpointLoader

    CheckpointLoader.register_scheme(prefixes='', loader=load_from_disk, force=True)
    CheckpointLoader.register_scheme(prefixes=SCHEME, loader=load_from_package, force=True)


def write_safely() -> None:
    """Have MMEngine's backend for local files write whole ones; by itself it leaves half of one where it is killed."""
    from mmengine.fileio import LocalBackend, register_backend

    class WholeFiles(LocalBackend):
        def put(self, obj: bytes, filepath: str | Path) -> None:
            files.write(filepath, obj)

        def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
            files.write(filepath, obj.encode(encoding))

    register_backend('local', WholeFiles, force=True, prefixes='')


def load_from_disk(filename: str, map_location: Any = None) -> dict[str, Any]:
    """`weights.read` as MMEngine calls it, which logs this name without its first ten characters."""
    checkpoint = read(filename, map_location)
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)  # MMEngine would run this text, and writes none itself
        name_classes(checkpoint['meta'])
    return with_network(checkpoint)


def name_classes(meta: dict[str, Any]) -> None:
    """Say the names of classes where mmpretrain looks for them too."""
    labels = ((meta.get(ABOUT) or {}).get('pretrained_cfg') or {}).get('label_names')
    if labels:
        meta.setdefault('dataset_meta', dict(classes=tuple(labels)))


def load_from_package(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Shipped weights as a classifier's checkpoint, with the keys `backbone.*` and `head.fc.*`.

    Raises:
        ValueError: No weights of that name are shipped, or their file is damaged.
        FileNotFoundError: Their file is missing.
    """
    name, rows = filename.removeprefix(SCHEME), index()
    if name not in rows:
        raise ValueError(f'checkpoint {filename!r} is not shipped: allowed are {", ".join(SCHEME + n for n in rows)}')
    verify(rows[name]['file'], rows[name]['sha256'])
    checkpoint = load_from_disk(rows[name]['file'], map_location)
    return with_network(dict(checkpoint, state_dict=of_classifier(checkpoint['state_dict'])))


def with_network(checkpoint: dict[str, Any], images: bool = True) -> dict[str, Any]:
    """Hand what a checkpoint says of its network, and of its images, on with its weights.

    As PyTorch hands on the versions of layers.
    """
    said = {ABOUT: network_of(checkpoint)} | ({IMAGES: images_of(checkpoint)} if images else {})
    checkpoint['state_dict'] = OrderedDict(checkpoint['state_dict'])
    checkpoint['state_dict']._metadata = dict.fromkeys(('', BACKBONE[:-1]), said)
    return checkpoint


def root_folder() -> Path:
    """Where `model-index.yml` and the configs are: in the installed package, or in the checkout."""
    installed = PACKAGE / '.mim'
    return installed if (installed / 'model-index.yml').is_file() else PACKAGE.parent
