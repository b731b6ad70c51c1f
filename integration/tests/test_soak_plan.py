# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What the soak draws, and how it knows a phase.

    PYTHONPATH=integration:bench \\
        python3 -m unittest discover -s integration/tests
"""

import unittest
from dataclasses import replace
from typing import Any, Dict, List

from soak import faults, phases, plan as plans, recipes
from soak.drive import Programs, machine_config
from soak.fixed import FIXED_SEEDS
from soak.plan import Plan, draw_plan

DRAWS = 2000
SERIES = ('7.2', '10.0')
PROGRAMS = Programs('qemu', 'guest')


def draw_many(series: str) -> List[Plan]:
    """Enough to see everything."""
    return [draw_plan(seed, series) for seed in range(DRAWS)]


class DrawTest(unittest.TestCase):
    """The drawing of plans."""

    def test_same_seed_same_plan(self) -> None:
        """One integer is all that a migration is drawn from."""
        for series in SERIES:
            self.assertEqual(draw_many(series), draw_many(series))

    def test_seeds_differ(self) -> None:
        """Two seeds give two plans."""
        names = {plan.describe() for plan in draw_many('7.2')}
        self.assertEqual(len(names), DRAWS)

    def test_every_strike_occurs(self) -> None:
        """Each fault in each phase where it is to be drawn."""
        wanted = {(phase, fault) for phase, names in plans.STRIKES.items()
                  for fault in names}
        for series in SERIES:
            drawn = {(plan.target, plan.fault) for plan in draw_many(series)}
            self.assertEqual(wanted - drawn, set())
            self.assertEqual({fault for _, fault in drawn}, set(plans.FAULTS))

    def test_every_feature_occurs(self) -> None:
        """Those of the release, and no other."""
        for series in SERIES:
            drawn = {plan.feature for plan in draw_many(series)}
            lacks = {plans.MAPPED_RAM} \
                if series in plans.WITHOUT_MAPPED_RAM else set[str]()
            self.assertEqual(drawn, set(plans.FEATURES) - lacks)

    def test_fixed_seeds(self) -> None:
        """Those of the tests strike each phase, and with each fault."""
        for series in SERIES:
            fixed = [draw_plan(seed, series) for seed in FIXED_SEEDS]
            self.assertEqual({plan.fault for plan in fixed},
                             set(plans.FAULTS))
            self.assertEqual({plan.target for plan in fixed
                              if plan.fault != plans.NONE},
                             set(phases.PHASES))
            self.assertEqual({plan.feature for plan in fixed},
                             {plan.feature for plan in draw_many(series)})

    def test_every_phase_and_fault_is_known(self) -> None:
        """Nothing is drawn that nobody does."""
        self.assertEqual(set(plans.STRIKES), set(phases.PHASES))
        self.assertEqual(faults.names_without_a_strike(), [])


class ValidTest(unittest.TestCase):
    """What a plan has to be, so that QEMU takes it and the guest boots."""

    def setUp(self) -> None:
        self.plans = [plan for series in SERIES for plan in draw_many(series)]

    def test_memory(self) -> None:
        """The working set fits, and a bulk pass takes seconds."""
        for plan in self.plans:
            self.assertLessEqual(plans.BASE_MIB + plan.ws_mib,
                                 plan.memory_mib)
            self.assertLessEqual(plan.memory_mib, plans.MEMORY_MAX_MIB)

    def test_parameters(self) -> None:
        """Within QEMU's ranges, with initial not above the ceiling."""
        for plan in self.plans:
            for name, (least, most) in plans.LIVE_RANGES.items():
                if name in plan.parameters and name != 'max-bandwidth':
                    self.assertTrue(least <= plan.parameters[name] <= most)
            self.assertLessEqual(plan.parameters['cpu-throttle-initial'],
                                 plan.parameters['max-cpu-throttle'])

    def test_changes(self) -> None:
        """Each parameter once, in its range, initial below every ceiling."""
        for plan in self.plans:
            names = [name for name, _ in plan.changes]
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual(set(plans.LIVE_RANGES), set(names))
            self.assertEqual(names[0], 'cpu-throttle-initial')
            for name, value in plan.changes:
                least, most = plans.LIVE_RANGES.get(name, (0, 0))
                self.assertTrue(name not in plans.LIVE_RANGES
                                or least <= value <= most)

    def test_post_copy(self) -> None:
        """Asked for only where the migration has it."""
        for plan in self.plans:
            asked = {plan.parameters['cpu-throttle-fallback'],
                     *(value for name, value in plan.changes
                       if name == 'cpu-throttle-fallback')}
            if plan.feature != plans.POST_COPY:
                self.assertNotIn('post-copy', asked)
            self.assertEqual(plan.target == phases.POST_COPY
                             and plan.feature != plans.POST_COPY, False)

    def test_file(self) -> None:
        """A file has neither link nor waiting destination."""
        for plan in self.plans:
            if plan.feature == plans.MAPPED_RAM:
                self.assertIn(plan.fault, plans.FILE_FAULTS)
                self.assertFalse(plan.relay_limits)

    def test_tls_may_abort(self) -> None:
        """No cancel where it may take QEMU away; elsewhere there are some."""
        for series in SERIES:
            cancelled = [plan for plan in draw_many(series)
                         if plan.feature == plans.MULTIFD_TLS
                         and (plan.fault == plans.CANCEL
                              or plan.ends == recipes.CANCELLED)]
            self.assertEqual(cancelled == [], series in plans.TLS_MAY_ABORT)

    def test_return_path(self) -> None:
        """The source has to hear of what is lost at the end."""
        late = [plan for plan in self.plans
                if plan.target in (phases.STOP, phases.PRE_SWITCHOVER)
                and plan.fault in plans.DISRUPT]
        self.assertGreater(len(late), 0)
        for plan in late:
            self.assertIn('return-path', plan.capabilities)

    def test_unplug(self) -> None:
        """What is to be unplugged is there."""
        for plan in self.plans:
            if plan.fault == plans.UNPLUG:
                self.assertGreater(plan.vcpus, 1)

    def test_delay(self) -> None:
        """Some strike at once, some later, none after the phase's time."""
        delays = {plan.delay_s for plan in self.plans}
        self.assertIn(0.0, delays)
        self.assertGreater(len(delays), 2)
        self.assertLessEqual(max(delays), plans.DELAY_S[1])

    def test_endless(self) -> None:
        """Where no stop is allowed, somebody helps it to an end."""
        for plan in self.plans:
            if plan.parameters['cpu-throttle-fallback'] == 'none':
                self.assertNotEqual(plan.ends, recipes.BY_ITSELF)


class CommandLineTest(unittest.TestCase):
    """machine_config(): QEMU is started as the plan has it."""

    def test_threads(self) -> None:
        """Of several -accel QEMU would take the first, whatever it says."""
        for single, expected in ((True, 'tcg,thread=single'),
                                 (False, 'tcg,thread=multi')):
            plan = replace(draw_plan(1, '10.0'), single_thread=single)
            words = machine_config(plan, PROGRAMS, '/').arguments()
            self.assertEqual(words.count('-accel'), 1)
            self.assertEqual(words[words.index('-accel') + 1], expected)

    def test_tls(self) -> None:
        """Each QEMU can be either end."""
        for feature, expected in ((plans.PLAIN, 0), (plans.TLS, 2)):
            plan = replace(draw_plan(1, '10.0'), feature=feature)
            words = machine_config(plan, PROGRAMS, '/keys').arguments()
            self.assertEqual(sum('dir=/keys' in word for word in words),
                             expected)


class PhaseTest(unittest.TestCase):
    """phase_of(), on replies made up here."""

    @staticmethod
    def active(phase: str, syncs: int = 2) -> Dict[str, Any]:
        """A reply of a migration that is under way."""
        return {'status': 'active', 'auto-converge': {'phase': phase},
                'ram': {'dirty-sync-count': syncs}}

    def phase(self, info: Dict[str, Any], state: str = 'running') -> Any:
        """With a guest in this run state."""
        return phases.phase_of(info, lambda: state)

    def test_by_status(self) -> None:
        """What the status alone says."""
        for status, phase in (('setup', phases.SETUP),
                              ('pre-switchover', phases.PRE_SWITCHOVER),
                              ('device', phases.DEVICE),
                              ('postcopy-active', phases.POST_COPY),
                              ('completed', None), ('cancelling', None)):
            self.assertEqual(self.phase({'status': status}), phase)

    def test_of_the_law(self) -> None:
        """What the law says, and the bulk pass before it."""
        self.assertEqual(self.phase(self.active('watch', 1)), phases.BULK)
        for phase in (phases.WATCH, phases.THROTTLE, phases.CEILING,
                      phases.LET_GO):
            self.assertEqual(self.phase(self.active(phase)), phase)

    def test_stop(self) -> None:
        """A fallback is a stop when the guest is stopped."""
        fallback = self.active('fallback')
        self.assertIsNone(self.phase(fallback))
        self.assertEqual(self.phase(fallback, 'finish-migrate'), phases.STOP)


if __name__ == '__main__':
    unittest.main()
