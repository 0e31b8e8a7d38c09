"""The model card of shipped weights, from the record of the run that made them."""

from __future__ import annotations

from typing import Any

from .records import Record, accuracy, data_label, epochs, hardware, recipe, score, seconds, summary


def spread(record: Record, others: list[Record]) -> list[dict[str, Any]]:
    """Seed and accuracy of the run and of those that differ from it by seed alone.

    Raises:
        ValueError: Another run has other settings, or the same seed.
    """
    for other in others:
        if _settings(other) != _settings(record):
            raise ValueError(f'record of seed {other["seed"]} is not allowed: its settings are not those of the run')
    runs = [dict(seed=r['seed'], accuracy=score(r)) for r in (record, *others)]
    if len({r['seed'] for r in runs}) < len(runs):
        raise ValueError(f'records of seeds {[r["seed"] for r in runs]} are not allowed: each seed counts once')
    return runs


def _settings(record: Record) -> dict[str, Any]:
    """What makes the result, but for the seed; weights it started from go by the recipe that made them, if known."""
    found, earlier = dict(record['settings']), [recipe(run) for run in record.get('earlier', [])]
    start = found.pop('load_from', None) if not found.pop('resume', False) else None
    kept = {k: v for k, v in found.items() if k not in ('randomness', 'work_dir', 'load_from')}
    return kept | dict(start=earlier or start)


def interval(percent: float, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy in percent, from the number of test images alone."""
    from scipy.stats import binomtest

    found = binomtest(round(percent * images / 100), images).proportion_ci(method='wilson')
    return 100 * found.low, 100 * found.high


def over_seeds(runs: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over the seeds."""
    if len(runs) < 2:
        return 'one seed, hence no spread'
    return f'{summary([r["accuracy"] for r in runs])}, as trained, seeds {", ".join(str(r["seed"]) for r in runs)}'


def render(name: str, record: Record, size: int) -> str:
    """The model card in Markdown.

    Args:
        name: Name of the weights.
        record: The run's record, with what was measured under `shipped`.
        size: Of the file, in bytes.
    """
    rows = '\n'.join(f'| {title} | {text} |' for title, text in _rows(record, size))
    values = {label: '-' if v is None else f'{v:.2f}' for label, v in record['shipped']['per_class'].items()}
    per_class = '\n'.join(f'| {label} | {value} |' for label, value in values.items())
    note = f'\n{record["note"]}\n' if record.get('note') else ''
    return f"""# {name}

`timm.create_model('{name}', pretrained=True)` after `import ranet_mm`; no download.

| | |
| --- | --- |
{rows}

The figures are of the file as it ships, through the transform that timm resolves for the model.
{note}
| Class | Accuracy, % |
| --- | ---: |
{per_class}

## Limits

{limits(record)}
"""


def _rows(record: Record, size: int) -> list[tuple[str, str]]:
    shipped = record['shipped']
    images, tested = record['data']['train']['samples'], shipped['images']
    low, high = interval(shipped['accuracy'], tested)
    took = seconds(record)
    time = f'{took:.0f} seconds' if took < 100 else f'{took / 60:.0f} minutes'
    trained = [('As trained', f'{accuracy([record])}, before the file was written')] if 'test' in record else []
    return [
        ('Data', _data(data_label(record), images, shipped['data'], tested)),
        ('Accuracy', f'**{shipped["accuracy"]:.2f} %** on the test images, one view, seed {record["seed"]}'),
        *trained,
        *_in_int8(shipped.get('int8')),
        ('95 % interval', f'{low:.2f} to {high:.2f} %, from the number of test images alone'),
        ('Over seeds', over_seeds(shipped.get('runs', []))),
        *((f'On {other["data"]}', f'{other["accuracy"]:.2f} %') for other in shipped.get('also', [])),
        ('Calibration error', f'{shipped["calibration_error"]:.2f} % (15 bins)'),
        *(('Started from', f'`{recipe(run)}` at commit `{run["commit"]}`') for run in record.get('earlier', [])),
        *(('Then', f'`{line}`') for line in record.get('prepare', [])),
        ('Recipe', _recipe(record)),
        ('Command', f'`{record["command"]}`'),
        ('Cost', f'{time} on {hardware(record)}'),
        ('Made at', f'commit `{record["commit"]}`, torch {record["versions"]["torch"]}'),
        ('File', f'{size / 2**20:.1f} MiB, SHA-256 `{shipped["sha256"]}`'),
    ]


def _in_int8(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    if not found:
        return []
    calibrated = f'calibrated on {found["calibration"]["images"]} images of {found["calibration"]["data"]}'
    versions = ', '.join(f'{name} {version}' for name, version in found['versions'].items())
    return [('In 8-bit integers', f'{found["accuracy"]:.2f} %, {calibrated} ({versions})')]


def _data(trained: str, images: int, tested: str, test_images: int) -> str:
    trained = trained.partition(', tested on ')[0]
    if trained == tested:
        return f'{tested}: {images:,} images to train on, {test_images:,} to test on'
    return f'trained on {trained}, {images:,} images; tested on {tested}, {test_images:,} images'


def _recipe(record: Record) -> str:
    optimizer = record['settings']['optim_wrapper']['optimizer']
    settings = ', '.join(f'{k} {v}' for k, v in optimizer.items() if k != 'type')
    batch = record['settings']['train_dataloader']['batch_size'] * record.get('processes', 1)
    return f'`{record["config"]}`, epochs: {epochs(record)}, batch {batch}, {optimizer["type"]} ({settings})'


def limits(record: Record) -> str:
    """What the weights are not known to do."""
    shipped = record['shipped']
    of_classes = shipped['per_class']
    shown = {name: value for name, value in of_classes.items() if value is not None}
    weakest = min(shown, key=shown.get)
    parts = [
        f'The model knows {len(of_classes)} classes and answers with one of them whatever it is shown.',
        f'It was tested on {shipped["data"]} alone: not on other sizes, other cameras, corrupted or hostile images.',
        f'It is weakest on *{weakest}*.',
    ]
    if absent := [name for name in of_classes if name not in shown]:
        parts.append(f'No image that it was tested on shows {", ".join(absent)}.')
    if 'JPEG' in data_label(record) and 'JPEG' not in shipped['data']:
        parts.append('It was trained on a copy of the images that JPEG compression had changed, not on the benchmark.')
    if 'JPEG' in shipped['data']:
        parts.append(
            'These are not the images of the benchmark: published accuracies cannot be compared with this one.'
        )
    return '\n'.join(parts)
