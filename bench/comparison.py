# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of interleaved measurements, and verdicts on pairs of servers.

Rates of one server differ more between two minutes than two servers do within
one second.  So everything rests on pairs, measured one right after the other,
and on the ratio within each pair.
"""

import dataclasses
import math
import statistics

# Server CPU time a request: at most so many times the peer's.  Rate: not below
# it.  The verdict is on the median over the rounds.
MAX_CPU_RATIO = 1.05
MIN_RATE_RATIO = 1.00


@dataclasses.dataclass
class Summary:
    """Median and quartiles, and where the true median is to be looked for."""

    nr: int
    median: float
    q1: float
    q3: float
    low: float
    high: float


def interval_ranks(nr):
    """Ranks, from 0, of values that enclose the true median with 95 %.

    Each value lies below the true median with a chance of one half, whatever
    the distribution: of 9 values the second and the eighth enclose it.  Fewer
    than 6 cannot be so sure; for them it is the extremes.
    """
    rank = 0
    chance = 0.5**nr  # that at most rank values lie below
    while chance <= 0.025:
        rank += 1
        chance += math.comb(nr, rank) * 0.5**nr
    first = max(rank - 1, 0)
    return first, nr - 1 - first


def summarise(values):
    ordered = sorted(values)
    nr = len(ordered)
    q1, median, q3 = (
        statistics.quantiles(ordered, n=4, method="inclusive")
        if nr > 1
        else ordered * 3
    )
    first, last = interval_ranks(nr)
    return Summary(nr, median, q1, q3, ordered[first], ordered[last])


@dataclasses.dataclass
class Verdict:
    """met says on which side of the bound the median is; clear says that the
    rounds suffice to tell: the bound is outside of the interval.
    """

    met: bool
    clear: bool

    def __str__(self):
        return ("met" if self.met else "NOT met") + ("" if self.clear else " ~")


def judge_at_most(ratio, bound):
    return Verdict(
        ratio.median <= bound,
        ratio.nr >= 6 and not ratio.low <= bound < ratio.high,
    )


def judge_at_least(ratio, bound):
    return Verdict(
        ratio.median >= bound,
        ratio.nr >= 6 and not ratio.low < bound <= ratio.high,
    )


@dataclasses.dataclass
class Comparison:
    """A server against its peer, over the rounds of one workload."""

    cpu: Summary
    rate: Summary
    cpu_verdict: Verdict
    rate_verdict: Verdict


def compare(cells, peer_cells):
    """Compare two lists of {"cpu_us":, "rate":}, one element a round."""
    if len(cells) != len(peer_cells):
        raise ValueError("pairs need both sides in every round")
    pairs = list(zip(cells, peer_cells))
    cpu = summarise([a["cpu_us"] / b["cpu_us"] for a, b in pairs])
    rate = summarise([a["rate"] / b["rate"] for a, b in pairs])
    return Comparison(
        cpu,
        rate,
        judge_at_most(cpu, MAX_CPU_RATIO),
        judge_at_least(rate, MIN_RATE_RATIO),
    )
