# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Which phase a migration is in, as QEMU says it."""

from typing import Any, Callable, Mapping, Optional

from migbench.migrate_info import END_STATUSES

SETUP = 'setup'
BULK = 'bulk'
WATCH = 'watch'
THROTTLE = 'throttle'
CEILING = 'ceiling'
LET_GO = 'let-go'
STOP = 'stop'
PRE_SWITCHOVER = 'pre-switchover'
DEVICE = 'device'
POST_COPY = 'post-copy'
PHASES = (SETUP, BULK, WATCH, THROTTLE, CEILING, LET_GO, STOP, PRE_SWITCHOVER,
          DEVICE, POST_COPY)

# of query-migrate
IDLE_STATES = ('none', *END_STATUSES)

_BY_STATUS = {'setup': SETUP, 'pre-switchover': PRE_SWITCHOVER,
              'device': DEVICE, 'postcopy-active': POST_COPY}
BULK_SYNC = 1                   # the sync of the dirty bitmap that begins it


def phase_of(info: Mapping[str, Any], run_state: Callable[[], str]
             ) -> Optional[str]:
    """
    The phase in a reply to query-migrate; run_state asks query-status, which
    tells a stop from a fallback that has only been decided. None: it is
    between two phases, or over.
    """
    status = info.get('status')
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status != 'active':
        return None
    phase = info.get('auto-converge', {}).get('phase')
    if phase == 'fallback':
        return STOP if run_state() == 'finish-migrate' else None
    if phase == WATCH and info.get('ram', {}).get('dirty-sync-count', 0) \
            <= BULK_SYNC:
        return BULK
    return phase if phase in PHASES else None
