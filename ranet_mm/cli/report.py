"""Write one page of HTML about a run: figures, mistakes, and what it attends to."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .program import COUNT, FILE, Program, check_ending, command, option, sentence, shared, whole

if TYPE_CHECKING:
    from ..lab.report.evidence import Evidence
    from ..lab.report.rundir import Run

NAME = 'report.html'
WITHOUT = 'no answers, mistakes and masks'


def changes(program: Program) -> None:
    """Changes of the run's config, as of `test`."""
    from ..mm.engine.console import quiet_imports

    quiet_imports()
    from mmengine.config import DictAction

    program.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help="change the run's config"
    )


@command(
    option('run', type=Path, metavar='RUN_DIR', help='work dir of a run'),
    changes,
    shared('--checkpoint', help="weights to report on instead of the run's last ones"),
    option('--number', **COUNT, help='test images to show to the network, evenly spread; all by default'),
    option('--out', **FILE, help=f'where to write it (RUN_DIR/{NAME} by default)'),
    '--overwrite',
)
def main(args: Namespace) -> None:
    """Test the run's last checkpoint and write the page; of what cannot be had it says why."""
    from ..lab import report
    from ..lab.report import rundir
    from ..mm.engine.provenance import typed_command

    out = args.out or args.run / NAME
    check_ending('--out', out, ('.html', '.htm'))
    if out.exists() and not args.overwrite:
        raise FileExistsError(f'{str(out)!r} exists: --overwrite replaces it')
    report.check()
    run = rundir.open_run(args.run)
    seen, notes = evidence(run, args)
    page = report.render(report.of_run(run), seen, notes, typed_command())
    with whole(out) as part:
        part.write_text(page, encoding='utf-8')
    for note in notes:
        print(note)
    print(f'{run.name}: {len(page.encode()) / 1e6:.1f} MB written to {out}')


def evidence(run: Run, args: Namespace) -> tuple[Evidence | None, list[str]]:
    """The network's answers, or a sentence that says why there are none. What the user asked for by name must work."""
    from ..lab.report import evidence

    checkpoint = Path(args.checkpoint) if args.checkpoint else run.checkpoint
    missing = [what for what, found in dict(config=run.config, checkpoint=checkpoint).items() if found is None]
    if missing:
        return None, [f'The run has no {" and no ".join(missing)}: the page has {WITHOUT}.']
    try:
        return evidence.of_run(run.config, checkpoint, args.cfg_options, args.number), []
    except (OSError, ValueError, ImportError) as error:
        if args.checkpoint or args.cfg_options or args.number:
            raise
        return None, [f'The checkpoint was not tested: {sentence(error)}. The page has {WITHOUT}.']
