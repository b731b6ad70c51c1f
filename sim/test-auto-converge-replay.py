#!/usr/bin/env python3
#
# auto-converge-replay, as another program sees it
#
# Copyright (c) 2026 the auto-converge authors
#
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: test-auto-converge-replay.py PATH-OF-REPLAY

import pathlib
import subprocess
import sys
import unittest

REPLAY = sys.argv.pop(1)
TRACES = sorted((pathlib.Path(__file__).parent / 'auto-converge')
                .glob('recorded-*.trace'))
KEYS = ('elapsed_ns', 'guest_run_ns', 'dirty_bytes', 'drained_bytes',
        'remaining_bytes')
CALM = (10_000_000_000, 10_000_000_000, 250, 1000, 250)
# Ratio 2.5, to be brought to 0.25: a tenth of the run time.
BUSY = (10_000_000_000, 10_000_000_000, 2_500_000, 1_000_000, 2_500_000)
# A saturated set of 640 MB at 100 MB/s: ceiling, and then the stop of 6.4 s.
BULK = (20_000_000_000, 20_000_000_000, 640_000_000, 2_000_000_000,
        640_000_000)
FLAT = (6_400_000_000, 6_400_000_000, 640_000_000, 640_000_000, 640_000_000)


def line(values, keys=KEYS):
    sample = dict(zip(KEYS, values))
    return ' '.join(f'{key}={sample[key]}' for key in keys) + '\n'


def run(text, *args):
    return run_with_looks(text, '--config', ','.join(['looks=off', *args]))


def run_with_looks(text, *args):
    return subprocess.run([REPLAY, *args], input=text, text=True,
                          capture_output=True, check=False)


class Replay(unittest.TestCase):
    def test_decision_line(self):
        done = run(line(CALM))
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, '')
        # R / B = 250 / 100 = 2.5 s, to the end 2.5 / (1 - 0.25) = 3.334 s
        self.assertEqual(
            done.stdout, 'phase=watch reason=converges throttle_permille=0 '
            'action=continue look_ms=0 look_bytes=0 '
            'predicted_downtime_ms=2500 predicted_time_ms=3334\n')

    def test_order_of_keys_and_foreign_words(self):
        one = run(line(BUSY)).stdout
        other = run('cpu_throttle_adapt throttle_permille=77 x phase=what '
                    + line(BUSY, KEYS[::-1])).stdout
        self.assertIn('throttle_permille=900 ', one)
        self.assertEqual(one, other)

    def test_fallback(self):
        done = run(line(BULK) + line(FLAT) * 3)
        self.assertEqual([words.split()[3] for words in
                          done.stdout.splitlines()],
                         ['action=continue'] * 3 + ['action=switchover'])
        self.assertIn('predicted_downtime_ms=6400 ', done.stdout)

    def test_look(self):
        part = (1_280_000_000, 12_800_000, 128_000_000, 128_000_000,
                640_000_000)
        done = run(line(BULK) + line(FLAT) * 2
                   + line(part).replace('\n', ' partial=1\n'))
        self.assertTrue(done.stdout.splitlines()[-1].startswith(
            'phase=fallback reason=stop-and-copy '), done.stdout)

    def test_first_look(self):
        # 1 % of the pass of 6.4 s is 64 ms, and by then all is dirty.
        part = (63_000_000, 63_000_000, 6_300_000, 6_300_000, 640_000_000)
        done = run_with_looks(
            line(BULK) + line(FLAT) * 2 + line(part).replace(
                '\n', ' partial=1 counts=32000000:600000000,'
                '63000000:640000000\n')).stdout.splitlines()
        self.assertIn('look_ms=1280 look_bytes=384000000 ', done[-2])
        self.assertIn('reason=stop-and-copy throttle_permille=0 ', done[-1])

    def test_complete(self):
        done = run(line(CALM) + line((10_000_000_000, 0, 1, 1_000, 1)))
        self.assertIn('action=complete ', done.stdout.splitlines()[-1])

    def test_deadline(self):
        done = run(line(BULK).replace('\n', ' since_start_ns=20000000000\n'),
                   'cpu-throttle-deadline=27')
        self.assertIn('reason=deadline ', done.stdout)
        self.assertIn('action=switchover ', done.stdout)

    def test_never(self):
        done = run(line(BULK) + line(FLAT) * 3, 'cpu-throttle-fallback=none')
        self.assertEqual(done.stdout.split()[-1],
                         f'predicted_time_ms={2 ** 64 - 1}')

    def test_config(self):
        done = run(line(BUSY),
                   'max-cpu-throttle=40,downtime-limit=100,'
                   'cpu-throttle-tailslow=on,cpu-throttle-increment=1,'
                   'throttle-trigger-threshold=60,cpu-throttle-initial=5,'
                   'cpu-throttle-fallback-downtime=0')
        self.assertEqual(done.returncode, 0)
        self.assertIn('throttle_permille=400 ', done.stdout)

    def test_bad_config(self):
        for pair in ('max-cpu-throttle=100', 'max-cpu-throttle=19',
                     'cpu-throttle-initial=0', 'cpu-throttle-initial=+5',
                     'cpu-throttle-initial=', 'cpu-throttle-tailslow=1',
                     'cpu-throttle-fallback=stop', 'nothing=1',
                     'max-cpu-throttle', 'downtime-limit=2000001',
                     'cpu-throttle-fallback-downtime=-1',
                     'cpu-throttle-deadline=4294967296', 'looks=1'):
            done = run(line(CALM), pair)
            with self.subTest(pair=pair):
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stdout, '')
                self.assertIn(pair.split('=')[0], done.stderr)
                self.assertEqual(done.stderr.count('\n'), 1)

    def test_bad_lines_are_named(self):
        good = line(CALM)
        for bad, why in (
                (good.replace('elapsed_ns', 'elapsed'), 'elapsed_ns'),
                (good.replace('=1000 ', '=1000x '), 'drained_bytes'),
                (good.replace('=1000 ', '=-1 '), 'drained_bytes'),
                (good.replace('=1000 ', f'={2 ** 64} '), 'drained_bytes'),
                (good.replace('=1000 ', '= '), 'drained_bytes'),
                (good[:-1] + ' drained_bytes=1\n', 'twice'),
                (good[:-1] + ' counts=1\n', 'counts'),
                (good[:-1] + ' counts=1:\n', 'counts'),
                (good[:-1] + ' counts=' + ','.join(['1:1'] * 9) + '\n',
                 'counts'),
                (good.replace(' ', '\0 ', 1), 'zero byte'),
                ('what is this\n', 'missing')):
            with self.subTest(bad=bad):
                done = run(good + '\n# comment\n' + bad + good)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stdout.count('\n'), 2)
                self.assertIn('line 4: ', done.stderr)
                self.assertIn(why, done.stderr)

    def test_recorded_traces(self):
        # What the law makes of real samples.  When it moves, so does the
        # golden: auto-converge-replay < NAME.trace > NAME.txt
        self.assertGreaterEqual(len(TRACES), 3)
        for path in TRACES:
            with self.subTest(trace=path.name):
                done = run_with_looks(path.read_text(encoding='utf-8'))
                golden = path.with_suffix('.txt').read_text(encoding='utf-8')
                self.assertEqual(done.returncode, 0)
                self.assertEqual(done.stdout, golden)

    def test_last_line_without_end(self):
        self.assertEqual(run(line(CALM)[:-1]).stdout.count('\n'), 1)

    def test_nothing(self):
        done = run('')
        self.assertEqual((done.returncode, done.stdout), (0, ''))

    def test_closes_the_loop(self):
        # Would wait for ever if the answers were not flushed one by one.
        with subprocess.Popen([REPLAY], stdin=subprocess.PIPE, text=True,
                              stdout=subprocess.PIPE) as replay:
            for _ in range(3):
                replay.stdin.write(line(CALM))
                replay.stdin.flush()
                self.assertIn('phase=watch', replay.stdout.readline())
            replay.stdin.close()
            self.assertEqual(replay.wait(), 0)


if __name__ == '__main__':
    unittest.main()
