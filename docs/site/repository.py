"""A hook of mkdocs: what pages link to outside docs/ becomes part of the site, so that every link works on both.

On the pages themselves links are those of the repository. Markdown is shown as a page, other text as a page of code,
and the rest, records included, as the file that it is.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r'(\]\()([^)\s:#]+)(#[^)\s]*)?(\))')
FENCED = re.compile(r'^(```.*?^```)', re.DOTALL | re.MULTILINE)
PLACE = 'repository'
CODE = {'.py': 'python', '.sh': 'bash', '.yml': 'yaml', '.txt': 'text', '': 'text'}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked, and what that links to."""
    wanted = [f'docs/{file.src_uri}' for file in files.documentation_pages()]
    seen = set(wanted)
    while wanted:
        source = wanted.pop()
        for target in targets(source):
            if target not in seen:
                seen.add(target)
                files.append(added(target, config))
                wanted += [target] * target.endswith('.md')
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the places that `on_files` gave to what they link to."""
    here = page.file.src_uri
    source = here.removeprefix(f'{PLACE}/') if here.startswith(f'{PLACE}/') else f'docs/{here}'

    def changed(match: re.Match) -> str:
        before, link, anchor, after = match.groups(default='')
        target = path_of(source, link)
        return (
            match[0] if target is None else before + relpath(place(target), PurePosixPath(here).parent) + anchor + after
        )

    return ''.join(part if part.startswith('```') else LINK.sub(changed, part) for part in FENCED.split(markdown))


def targets(source: str) -> Iterator[str]:
    """What a page of the repository links to outside docs/."""
    prose = FENCED.sub('', (ROOT / source).read_text())
    found = (path_of(source, match[2]) for match in LINK.finditer(prose))
    return (path for path in found if path is not None and not path.startswith('docs/'))


def path_of(source: str, link: str) -> str | None:
    """A link's file in the repository, a folder's README; None where there is none, of which mkdocs warns."""
    path = normpath(str(PurePosixPath(source).parent / link))
    if (ROOT / path).is_dir():
        path = f'{path}/README.md'
    return path if (ROOT / path).is_file() else None


def place(path: str) -> str:
    """Where a file of the repository is, as mkdocs counts its sources."""
    if path.startswith('docs/'):
        return path.removeprefix('docs/')
    return f'{PLACE}/{path}' + ('.md' if PurePosixPath(path).suffix in CODE else '')


def added(path: str, config: MkDocsConfig) -> File:
    language = CODE.get(PurePosixPath(path).suffix)
    if language is None:
        return File.generated(config, place(path), abs_src_path=str(ROOT / path))
    text = (ROOT / path).read_text()
    return File.generated(config, place(path), content=f'# {path}\n\n```{language}\n{text}\n```\n')
