"""Write the tables and plots of the documents from the run records, the golden counts and the model index."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

from .. import files
from ..lab import plots
from ..lab.tables import SWEEPS, TABLES, study_tables, sweep_table
from .program import command

DOCUMENTS = (
    'README.md', 'configs/ranet/README.md', 'results/README.md', 'docs/results.md', 'docs/detection.md',
    'docs/segmentation.md', 'docs/performance.md', 'docs/attention.md', 'docs/reliability.md',
)  # fmt: skip
REGION = re.compile(r'(?P<open><!-- (?P<name>[\w/-]+):begin -->\n).*?(?P<close><!-- (?P=name):end -->)', re.DOTALL)


@command('--root', '--check')
def main(args: Namespace) -> int:
    stale = [name for name in DOCUMENTS if not _document(args.root, name, args.check)]
    drawn = plots.listed(args.root)
    stale += [name for name in drawn if not plots.current(args.root, name)]
    for name in stale:
        if not args.check and name in drawn:
            plots.write(args.root, name)
        print(f'{args.root / name} {"is not current" if args.check else "written"}')
    return int(args.check and bool(stale))


def _document(root: Path, name: str, check: bool) -> bool:
    """Whether a document was current; without `check` it is then."""
    path = root / name
    old = path.read_text(encoding='utf-8')
    new = fill(old, root, up='../' * name.count('/'))
    if new != old and not check:
        files.write(path, new)
    return new == old


def fill(text: str, root: Path, up: str = '') -> str:
    """Replace what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` by the table of that name.

    Args:
        text: A document in Markdown. `NAME` is a table, a sweep file as `small/01_table2`, or its folder.
        root: The checkout.
        up: Path from the document's folder to the checkout, for links.

    Raises:
        ValueError: A region's name is that of no table, sweep file or folder of sweep files.
    """

    def region(match: re.Match) -> str:
        name = match['name']
        if name in TABLES:
            table = TABLES[name](root, up)
        elif (root / SWEEPS / f'{name}.yml').is_file():
            table = sweep_table(root, up, name)
        elif (root / SWEEPS / name).is_dir():
            table = study_tables(root, up, name)
        else:
            raise ValueError(
                f'region {name!r} is not known: allowed are {", ".join(TABLES)}, sweep files and their folders'
            )
        return f'{match["open"]}\n{table}\n{match["close"]}'

    return REGION.sub(region, text)
