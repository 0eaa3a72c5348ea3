"""Which files of a data set belong together: the one index for check, prepare, training and prediction.

It works on names alone, relative to the root and with forward slashes, so that folders, archives and remote stores are
indexed by the same code. Hidden files and folders are skipped; names are compared in Unicode's composed form, without
their suffix and whatever its case.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from hsonet_mm.errors import UserError
from hsonet_mm.images import IMAGE_SUFFIXES
from hsonet_mm.texts import decode_text, printable

__all__ = [
    'BY_LISTS', 'LAYOUTS', 'ROLES', 'SPLITS', 'VECTOR_SUFFIXES', 'Index', 'NoPairsError', 'SceneFiles', 'belongs',
    'by_stem', 'find_name', 'index_names', 'name_key', 'read_names', 'some',
]  # fmt: skip

SPLITS = ('train', 'val', 'test')
ROLES = ('A', 'B', 'label')
VECTOR_SUFFIXES = ('.gpkg', '.geojson', '.shp')
"""Labels as polygons, which prepare burns onto the grid of the image."""

LAYOUTS = {
    'LEVIR-CD': ('{split}/A/*', '{split}/B/*', '{split}/label/*'),
    'CDD': ('{split}/A/*', '{split}/B/*', '{split}/OUT/*'),
    'SYSU-CD': ('{split}/time1/*', '{split}/time2/*', '{split}/label/*'),
    'S2Looking': ('{split}/Image1/*', '{split}/Image2/*', '{split}/label/*'),
    'WHU-CD': (
        '2012/whole_image/{split}/image/2012_{split}',
        '2016/whole_image/{split}/image/2016_{split}',
        'change_label/{split}/change_label',
    ),
    'WHU-CD whole': ('before/before', 'after/after', 'change label/change_label'),
    'dates first': ('A/{split}/*', 'B/{split}/*', 'label/{split}/*'),
    'scenes': ('A/*', 'B/*', 'label/*'),
}
"""Paths of date 1, date 2 and label without suffix; ``*`` is the scene's name, ``{split}`` its split."""

BY_LISTS = ', splits by lists'
"""What follows the name of a layout whose splits are lists."""

_FOREIGN = ('__MACOSX', '@eaDir', '$RECYCLE.BIN')
_LIST = re.compile(rf'(?:(?:lists?|splits?)/)?({"|".join(SPLITS)})\.txt', re.IGNORECASE)


@dataclass(frozen=True)
class SceneFiles:
    """One place at two dates.

    ``name`` is ``split/stem`` or ``stem``, with the folders below the role's; files are paths below the root, by role.
    """

    name: str
    split: str | None
    stem: str
    files: dict[str, str] = field(hash=False)

    def missing(self) -> list[str]:
        """The roles without a file."""
        return [role for role in ROLES if role not in self.files]


@dataclass(frozen=True)
class Index:
    """The pairs and splits of a data set.

    The root is ``''`` or ends in a slash; scenes, complete or not, are sorted by name; unlisted ones are left out, for
    no list of splits names them, or their folder is none of a split.
    """

    layout: str
    root: str
    scenes: list[SceneFiles]
    unlisted: list[str] = field(default_factory=list)


class NoPairsError(UserError):
    """The error for a folder without a data set in a known layout."""


def belongs(name: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> bool:
    """Whether a path below the root has one of the suffixes and no hidden part."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith('.') or part in _FOREIGN for part in parts)
    return not hidden and name.lower().endswith(tuple(suffixes))


def name_key(name: str) -> str:
    """The composed Unicode form by which names are compared; macOS writes letters and accents separately."""
    return unicodedata.normalize('NFC', name)


def _without_suffix(name: str) -> str:
    """The name without the suffix of an image or of a label of polygons, if it ends in one."""
    ending = next((one for one in (*IMAGE_SUFFIXES, *VECTOR_SUFFIXES) if name.lower().endswith(one)), '')
    return name[: len(name) - len(ending)]


def some(names: Iterable[str]) -> str:
    """A few of many names, for a message."""
    names = sorted(names)
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def by_stem(
    names: Iterable[str], suffixes: Sequence[str] = IMAGE_SUFFIXES, folder: str = ''
) -> dict[str, str]:
    """The files of a folder by what belongs together.

    The suffixes are in small letters; ``folder`` is what messages call it, ending in a slash.

    Returns:
        Path below the folder by :func:`name_key` of the path without suffix, sorted.
    """
    found: dict[str, str] = {}
    for name in sorted(name for name in names if belongs(name, suffixes)):
        ending = max((one for one in suffixes if name.lower().endswith(one)), key=len)
        other = found.setdefault(name_key(name[: -len(ending)]), name)
        if other != name:
            raise UserError(f'{folder}{other} and {folder}{name} have one name: keep one of them')
    return found


def read_names(data: bytes, path: str, known: Collection[str]) -> list[str]:
    """Read a list of scenes, one a line: its name with or without suffix and folders, or the paths of its files.

    Returns the keys of the known scenes, :func:`name_key` of their stem, in the order of the list; a line that names
    none of them stays as it is, but for its suffix. ``path`` is what messages call the list.
    """
    try:
        lines = [line.strip().strip('"') for line in decode_text(data).splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f'the list of pairs {path} is not text ({error}): write one name per line') from None
    keys = [_scene_of(line, path, known) for line in lines if line]
    if not keys:
        raise UserError(f'the list of pairs {path} is empty: write one name per line or remove it')
    if len(keys) > len(set(keys)):
        repeated = {key for key in keys if keys.count(key) > 1}
        raise UserError(
            f'the list of pairs {path} names some scenes more than once ({some(repeated)}): name each once'
        )
    return keys


def _scene_of(line: str, path: str, known: Collection[str]) -> str:
    """The scene that a line of a list names."""
    key = find_name(line, known)
    if key in known:
        return key
    parts = [find_name(part, known) for part in re.split(r'[\s,;]+', line)]
    if parts[0] not in known:
        return key
    if others := sorted({part for part in parts if part in known} - {parts[0]}):
        raise UserError(f'{path}: one line names {parts[0]!r} and {others[0]!r}: write one scene per line')
    return parts[0]


def find_name(text: str, known: Collection[str]) -> str:
    """The key of the known scene that a name with or without suffix and folders means; else the name's own."""
    text = name_key(text.replace('\\', '/'))
    bare = _without_suffix(text)
    return next((key for key in (text, bare, PurePosixPath(bare).name) if key in known), bare)


def index_names(
    names: Iterable[str],
    read: Callable[[str], bytes],
    where: str,
    templates: Sequence[str] | None = None,
) -> Index:
    """Pair the files of the three roles by their names.

    Where the folders tell no splits, lists beside them do: ``list/{train,val,test}.txt``, as BIT, ChangeFormer and
    others have them.

    Args:
        names: paths of the files below the place that is indexed.
        read: gives the content of one of them; called for lists alone.
        where: what messages call the place.
        templates: paths of date 1, date 2 and label as in :data:`LAYOUTS`, a folder standing for all files in it;
            without them the layout that explains most files is taken.

    Raises:
        UserError: when no layout fits, it contains several data sets or the same image twice, or lists and images
            do not fit.
    """
    names = sorted(names)
    layouts = {'given': tuple(map(_as_template, templates))} if templates else LAYOUTS
    found = {layout: _match(parts, names) for layout, parts in layouts.items()}
    # By its best root, so that a folder beside those of the splits does not turn them into data sets of their own.
    layout = max(found, key=lambda one: max(map(_score, found[one].values()), default=(0, 0)))
    roots = found[layout]
    complete = [root for root, group in roots.items() if _score(group)[0]] or list(roots)
    if not complete:
        raise NoPairsError(
            f'{where}: no image pairs found: expected {{train,val,test}}/{{A,B,label}} or A, B, label with files of '
            f'equal names ({", ".join(IMAGE_SUFFIXES)}); name other folders with --a, --b and --label'
        )
    if len(complete) > 1:
        several = ' and '.join(repr(root or '.') for root in sorted(complete)[:2])
        raise UserError(f'{where}: contains several data sets ({several}): give one of these folders')
    root, scenes = complete[0], roots[complete[0]]
    if any(scene.split for scene in scenes):
        used = {file for scene in scenes for file in scene.files.values()}
        others = (
            f'{folder}{scene.name}'
            for folder, group in found.get('scenes', {}).items()
            for scene in group
            if not scene.missing() and used.isdisjoint(scene.files.values())
        )
        return Index(layout, root, scenes, sorted(others))
    lists: dict[str, str] = {}
    for name in names:
        match = _LIST.fullmatch(name[len(root) :]) if name.startswith(root) else None
        if match and (other := lists.setdefault(match[1].lower(), name)) != name:
            raise UserError(f'{other} and {name} are lists of one split: keep one of them')
    return _by_lists(Index(layout, root, scenes), lists, read) if lists else Index(layout, root, scenes)


def _by_lists(index: Index, lists: Mapping[str, str], read: Callable[[str], bytes]) -> Index:
    """Give every scene the split whose list names it."""
    scenes = {name_key(scene.stem): scene for scene in index.scenes}
    splits: dict[str, str] = {}
    for split, path in lists.items():
        for key in read_names(read(path), path, scenes):
            if key not in scenes:
                raise UserError(
                    f'{path}: names {printable(key)!r}, which is not there: add its files or remove the line'
                )
            if key in splits:
                raise UserError(
                    f'{path}: names {printable(key)!r}, as does {lists[splits[key]]}: keep it in one split'
                )
            splits[key] = split
    listed = [
        SceneFiles(f'{splits[key]}/{scene.stem}', splits[key], scene.stem, scene.files)
        for key, scene in scenes.items()
        if key in splits
    ]
    unlisted = [scene.name for key, scene in scenes.items() if key not in splits]
    return Index(f'{index.layout}{BY_LISTS}', index.root, sorted(listed, key=lambda one: one.name), unlisted)


def _match(templates: Sequence[str], names: Sequence[str]) -> dict[str, list[SceneFiles]]:
    """The scenes by the folder that contains all of their files."""
    files: dict[tuple[str, str, str], dict[str, str]] = {}
    for role, template in zip(ROLES, templates, strict=True):
        pattern = _pattern(template)
        suffixes = (*IMAGE_SUFFIXES, *VECTOR_SUFFIXES) if role == 'label' else IMAGE_SUFFIXES
        for name in names:
            match = pattern.fullmatch(_without_suffix(name)) if belongs(name, suffixes) else None
            if not match:
                continue
            split = (match.groupdict().get('split') or '').lower()
            if '*' in templates[0] and '*' not in template and belongs(name, VECTOR_SUFFIXES):
                for (root, one, _), known in files.items():  # polygons of all scenes in one file
                    if root == match['root'] and split in ('', one):
                        known[role] = name
                continue
            stem = match.groupdict().get('stem') or split or 'scene'
            known = files.setdefault((match['root'], split, name_key(stem)), {})
            if role in known:
                raise UserError(f'{known[role]} and {name} have one name: keep one of them')
            known[role] = name
    groups: dict[str, list[SceneFiles]] = {}
    for (root, split, stem), group in sorted(files.items()):
        scene = SceneFiles(f'{split}/{stem}' if split else stem, split or None, stem, group)
        groups.setdefault(root, []).append(scene)
    return groups


def _score(scenes: Sequence[SceneFiles]) -> tuple[int, int]:
    """How well a layout matches a source: number of complete scenes, then of files."""
    return sum(not scene.missing() for scene in scenes), sum(len(scene.files) for scene in scenes)


def _as_template(text: str) -> str:
    """``before`` is a folder, ``before.tif`` a file, ``{split}/before/*`` already a template."""
    text = text.replace('\\', '/').strip('/')
    bare = _without_suffix(text)
    return bare if bare != text or '*' in text else f'{text}/*'


def _pattern(template: str) -> re.Pattern[str]:
    """A regular expression with groups root, stem and split; a second ``{split}`` repeats the first."""
    text = re.escape(template).replace(r'\*', '(?P<stem>.+)', 1).replace(r'\*', '[^/]*')
    text = text.replace(re.escape('{split}'), '{split}')
    text = text.replace('{split}', f'(?P<split>{"|".join(SPLITS)})', 1).replace('{split}', '(?P=split)')
    return re.compile(f'(?P<root>(?:.*/)?){text}', re.IGNORECASE)
