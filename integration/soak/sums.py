# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The table of several soaks of one release as one.

    PYTHONPATH=integration:bench python3 -m soak.sums SOAK.json...
"""

import argparse
import json
import sys
from typing import Any, Dict, List

from . import report


def read_entries(paths: List[str]) -> List[Dict[str, Any]]:
    """Of all files; a seed counts once, as it was seen first."""
    entries: Dict[int, Dict[str, Any]] = {}
    series = set()
    for path in paths:
        with open(path, encoding='utf-8') as file:
            soak = json.load(file)
        series.add(soak['series'])
        for entry in soak['migrations']:
            entries.setdefault(entry['seed'], entry)
    if len(series) > 1:
        raise ValueError(f'of one release, not of {", ".join(sorted(series))}')
    return list(entries.values())


def main() -> int:
    """Print it; the exit status."""
    parser = argparse.ArgumentParser(prog='soak.sums', description=__doc__,
                                     formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paths', nargs='+', metavar='SOAK.json')
    try:
        entries = read_entries(parser.parse_args().paths)
    except (OSError, ValueError, KeyError) as exc:
        print(f'soak.sums: {exc}', file=sys.stderr)
        return 2
    met, planned = report.reached(entries)
    for line in [*report.table(entries),
                 f'{met} of {planned} strikes met their phase',
                 report.totals(entries)]:
        print(line)
    return 0


if __name__ == '__main__':
    sys.exit(main())
