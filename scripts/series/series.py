"""A patch series and the git tree that it is applied in.

What apply, refresh, export and check share. The series file is quilt's: one
patch a line, comments after '#'. Two comments mean something here:

    #+ PATH     the overlay file PATH enters the tree with the patch above
    #stock      the patches so far are what "stock" is built from

Why neither quilt nor gbp pq does this: most of the series is new files, which
are kept once for all releases, as files that an editor and a build without QEMU
can use. quilt would have them in each patch of each release; gbp pq as well, and
it wants a packaging branch for each. Besides, the same patches have to give the
same commits, so that what was built before need not be built again.

Copyright (c) 2026 the auto-converge authors
SPDX-License-Identifier: GPL-2.0-or-later
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))

# Same patches, same commits: nothing in them depends on who or when.
IDENTITY = {
    f'GIT_{who}_{key}': value
    for who in ('AUTHOR', 'COMMITTER')
    for key, value in (('NAME', 'auto-converge series'),
                       ('EMAIL', 'auto-converge@localhost'),
                       ('DATE', '1234567890 +0000'))
}

# A diff that depends on its two trees alone, not on anybody's configuration.
DIFF = ('-c', 'core.quotepath=off', '-c', 'diff.suppressBlankEmpty=false',
        '-c', 'diff.orderFile=', 'diff-tree', '-p', '--no-commit-id',
        '--no-color', '--no-ext-diff', '--no-textconv', '--no-renames',
        '--diff-algorithm=myers', '--indent-heuristic', '--unified=3',
        '--inter-hunk-context=0', '--src-prefix=a/', '--dst-prefix=b/')

BASE = 'refs/tags/base'
STOCK = 'refs/auto-converge/stock'
APPLIED = 'refs/auto-converge/applied'
BRANCH = 'refs/heads/series'


class Failure(Exception):
    """Said to the user: the first line, then what to do, one line each."""


def main_of(name, function):
    """Run a script's main; a failure is a message, not a traceback."""
    for key in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE'):
        os.environ.pop(key, None)
    os.environ['LC_ALL'] = 'C'
    try:
        function()
    except Failure as failure:
        first, *rest = failure.args
        print(f'{name}: {first}', file=sys.stderr)
        for line in rest:
            print(f'    {line}', file=sys.stderr)
        sys.exit(1)


def read(path, mode='r'):
    with open(path, mode, **({} if 'b' in mode else {'encoding': 'utf-8'})) as f:
        return f.read()


def write(path, text):
    """Write only what changed; say whether it did."""
    data = text if isinstance(text, bytes) else text.encode()
    if os.path.exists(path) and read(path, 'rb') == data:
        return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)
    return True


class Patch:
    """One line of the series file and what belongs to it."""

    def __init__(self, name):
        self.name = name
        self.overlay = []
        self.ends_stock = False

    @property
    def number(self):
        m = re.match(r'\d+', self.name)
        return int(m.group()) if m else 0


class Series:
    """patches/<series>, as files."""

    def __init__(self, series):
        self.series = series
        self.dir = os.path.join(TOP, 'patches', series)
        self.file = os.path.join(self.dir, 'series')
        self.head = []
        self.patches = []
        if not os.path.isdir(self.dir):
            raise Failure(f'no series for SERIES={series}',
                          'there is: ' + ' '.join(all_series()))
        if os.path.exists(self.file):
            self._parse(read(self.file).splitlines())

    def _parse(self, lines):
        for number, line in enumerate(lines, 1):
            where = f'patches/{self.series}/series:{number}'
            mark = line.startswith('#+') or line.strip() == '#stock'
            if mark and not self.patches:
                raise Failure(f'{where}: "{line}" before the first patch')
            if line.startswith('#+'):
                self.patches[-1].overlay.append(line[2:].strip())
            elif mark:
                self.patches[-1].ends_stock = True
            elif line.startswith('#') or not line.strip():
                if not self.patches:
                    self.head.append(line)
            else:
                self.patches.append(Patch(line.strip()))
                if not os.path.exists(self.path(self.patches[-1])):
                    raise Failure(f'{where}: no such patch: {line.strip()}')

    def path(self, patch):
        return os.path.join(self.dir, patch.name)

    def save(self):
        lines = list(self.head)
        for patch in self.patches:
            lines.append(patch.name)
            lines += [f'#+ {path}' for path in sorted(patch.overlay)]
            if patch.ends_stock:
                lines.append('#stock')
        return write(self.file, '\n'.join(lines) + '\n')

    def fingerprint(self):
        """Of the patches as they are now: did they change since apply?"""
        digest = hashlib.sha256()
        for patch in self.patches:
            digest.update(repr((patch.name, patch.overlay, patch.ends_stock,
                                read(self.path(patch), 'rb'))).encode())
        return digest.hexdigest()

    def title(self, patch):
        return split_patch(read(self.path(patch)))[0]


def all_series():
    """Every series there is, oldest release first."""
    names = [name for name in os.listdir(os.path.join(TOP, 'patches'))
             if os.path.exists(os.path.join(TOP, 'patches', name, 'BASE'))]
    return sorted(names, key=lambda n: [int(x) for x in re.findall(r'\d+', n)])


def split_patch(text):
    """A patch file -> (title, body, diff)."""
    head, blank, rest = text.partition('\n\n')
    subject = re.search(r'^Subject: (.*(?:\n[ \t].*)*)', head, re.M)
    if not subject or not blank:
        raise Failure('a patch without "Subject:" and an empty line after it')
    title = re.sub(r'\s*\n\s*', ' ', subject.group(1))
    title = re.sub(r'^\[[^]]*\]\s*', '', title).strip()
    body, _, diff = ('\n' + rest).partition('\n---\n')
    start = re.search(r'^diff --git ', diff, re.M)
    return title, body.strip('\n'), diff[start.start():] if start else ''


def join_patch(title, body, diff):
    """The reverse: no author, no date, no hashes, so nothing to churn."""
    text = ('From 0000000000000000000000000000000000000000'
            ' Mon Sep 17 00:00:00 2001\n'
            f'Subject: [PATCH] {title}\n\n')
    if body:
        text += body + '\n'
    return text + '---\n\n' + drop_index_lines(diff)


def drop_index_lines(diff):
    """Inside a hunk every line begins with one of ' +-@\\', never with 'i'."""
    return re.sub(r'^index [0-9a-f]+\.\.[0-9a-f]+(?: \d+)?\n', '', diff,
                  flags=re.M)


class Tree:
    """build/<series>/tree: base, then one commit per patch."""

    def __init__(self, series):
        self.series = series
        self.dir = os.path.join(TOP, 'build', series, 'tree')
        if self.rev(BASE) is None:
            raise Failure(f'no source in build/{series}/tree',
                          f'run: make fetch SERIES={series}')

    def run(self, *args, stdin=None, env=None):
        return subprocess.run(
            ('git', '-C', self.dir) + args, input=stdin, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})})

    def git_bytes(self, *args, **kwargs):
        result = self.run(*args, **kwargs)
        if result.returncode:
            raise Failure(f'git {" ".join(args)}:',
                          *result.stderr.decode().strip().splitlines())
        return result.stdout

    def git(self, *args, **kwargs):
        if isinstance(kwargs.get('stdin'), str):
            kwargs['stdin'] = kwargs['stdin'].encode()
        return self.git_bytes(*args, **kwargs).decode().rstrip('\n')

    def rev(self, name):
        if not os.path.exists(os.path.join(self.dir, '.git')):
            return None
        result = self.run('rev-parse', '-q', '--verify', name)
        return None if result.returncode else result.stdout.decode().strip()

    def commits(self, tip, base=BASE):
        return self.git('rev-list', '--reverse', f'{base}..{tip}').split()

    def is_ancestor(self, commit, tip):
        return self.run('merge-base', '--is-ancestor', commit,
                        tip).returncode == 0

    def rebasing(self):
        return any(os.path.exists(os.path.join(self.dir, '.git', name))
                   for name in ('rebase-merge', 'rebase-apply'))

    def dirty(self):
        """Edits to tracked files; what git does not know is left alone."""
        return self.git('status', '--porcelain', '-uno')

    def blob(self, commit, path):
        """The bytes of a file in a commit, None when it is not there."""
        result = self.run('cat-file', 'blob', f'{commit}:{path}')
        return None if result.returncode else result.stdout

    def message(self, commit):
        text = self.git('log', '-1', '--format=%B', commit)
        title, _, body = text.partition('\n')
        return title, body.strip('\n')

    def upstream_diff(self, commit):
        """What a commit does to files that the release has, index lines off."""
        ours = self.new_files(commit)
        diff = self.git_bytes(*DIFF, f'{commit}^', commit, '--', '.',
                              *(f':(exclude,literal){p}' for p in ours))
        return drop_index_lines(diff.decode('utf-8', 'surrogateescape'))

    def new_files(self, commit):
        """Files a commit touches that the release does not have: overlay."""
        changed = self.git('-c', 'core.quotepath=off', 'diff-tree', '-r',
                           '--no-renames', '--name-only', '--no-commit-id',
                           f'{commit}^', commit).splitlines()
        return [path for path in changed
                if self.run('cat-file', '-e', f'{BASE}:{path}').returncode]


def apply_diff(series, tree, patch, diff, env):
    """To the temporary index only, and only where it says."""
    result = tree.run('apply', '--cached', '--verbose', '--whitespace=nowarn',
                      '-', stdin=diff.encode('utf-8', 'surrogateescape'),
                      env=env)
    said = result.stderr.decode('utf-8', 'replace').splitlines()
    name = f'patches/{series.series}/{patch.name}'
    if result.returncode:
        raise Failure(f'{name} does not apply',
                      *[line for line in said if line.startswith('error:')],
                      'mend it by hand, or make it anew in the tree and refresh')
    moved = [line for line in said if re.search(r'\(offset -?\d+ line', line)]
    if moved and os.environ.get('OFFSETS') != '1':
        raise Failure(f'{name} applies, but not where it says', *moved,
                      f'run: make apply OFFSETS=1 SERIES={series.series}',
                      f'then: make refresh SERIES={series.series}')


def add_overlay(tree, patch, env):
    for path in patch.overlay:
        source = os.path.join(TOP, path)
        if not os.path.isfile(source):
            raise Failure(f'{patch.name} wants the overlay file {path}: '
                          'no such file')
        if tree.blob(BASE, path) is not None:
            raise Failure(f'{path} is a file of the release: '
                          'change it by a patch, not by an overlay file')
        blob = tree.git_bytes('hash-object', '-w', '--no-filters', '--stdin',
                              stdin=read(source, 'rb')).decode().strip()
        mode = '100755' if os.access(source, os.X_OK) else '100644'
        tree.git('update-index', '--add', '--cacheinfo', mode, blob, path,
                 env=env)


def make_commits(series, tree):
    """The series as commits on base -> (stock, tip)."""
    parent = stock = tree.rev(BASE)
    with tempfile.TemporaryDirectory(prefix='auto-converge-') as scratch:
        env = {'GIT_INDEX_FILE': os.path.join(scratch, 'index'), **IDENTITY}
        tree.git('read-tree', parent, env=env)
        for patch in series.patches:
            title, body, diff = split_patch(
                read(series.path(patch), 'rb').decode('utf-8',
                                                      'surrogateescape'))
            if diff:
                apply_diff(series, tree, patch, diff, env)
            add_overlay(tree, patch, env)
            parent = tree.git('commit-tree', '-p', parent,
                              tree.git('write-tree', env=env), env=env,
                              stdin=f'{title}\n\n{body}'.rstrip() + '\n')
            if patch.ends_stock:
                stock = parent
    return stock, parent


def version():
    """Of the series, as CHANGELOG.md begins with it; tests have none."""
    path = os.path.join(TOP, 'CHANGELOG.md')
    found = os.path.exists(path) and re.search(r'^## (\d+)\b', read(path), re.M)
    return found.group(1) if found else '0'


def tag(series, tree, tip):
    """
    For "git describe", which QEMU asks when it is built: what --version and
    query-version say of a build tells the series.
    """
    release = re.search(r'^tag=(.*)', read(os.path.join(series.dir, 'BASE')), re.M)
    if not release:
        return
    names = {release.group(1): BASE,
             f'{release.group(1)}+auto-converge.{version()}': tip}
    for old in tree.git('tag', '--list', f'{release.group(1)}*').splitlines():
        if old not in names:
            tree.git('tag', '-d', old)
    for name, commit in names.items():
        if tree.rev(f'{name}^{{commit}}') != tree.rev(commit):
            tree.git('tag', '-f', '-a', '-m', name, name, commit, env=IDENTITY)


def settle(series, tree, stock, tip, force=False):
    """Check the tip out, changing only files that differ, and remember it."""
    if force:
        tree.run('rebase', '--abort')
        tree.git('reset', '-q', '--hard')
    if tree.rev('HEAD') != tip or tree.dirty():
        tree.git('checkout', '-q', '--detach', tip)
    tree.git('update-ref', BRANCH, tip)
    tree.git('symbolic-ref', 'HEAD', BRANCH)
    tree.git('update-ref', STOCK, stock)
    tree.git('update-ref', APPLIED, tip)
    tree.git('config', 'auto-converge.series', series.fingerprint())
    tag(series, tree, tip)
