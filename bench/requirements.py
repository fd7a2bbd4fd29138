# SPDX-License-Identifier: BSD-3-Clause
"""What is required of blkmqd, and whether it is met.

Each requirement is about a figure that is taken within every round; the
verdict is on its median over the rounds.
"""

import dataclasses
import typing

import comparison


@dataclasses.dataclass(frozen=True)
class Bound:
    value: float
    at_least: bool

    def judge(self, figure):
        judge = (
            comparison.judge_at_least
            if self.at_least
            else comparison.judge_at_most
        )
        return judge(figure, self.value)

    def __str__(self):
        return f"{'>=' if self.at_least else '<='} {self.value:.2f}"


def at_least(value):
    return Bound(value, True)


def at_most(value):
    return Bound(value, False)


@dataclasses.dataclass
class Line:
    """Of the report: a figure, and the verdict on it if there is a bound."""

    group: str
    title: str
    figure: comparison.Summary
    bound: typing.Optional[Bound] = None
    verdict: typing.Optional[comparison.Verdict] = None

    def __post_init__(self):
        if self.bound is not None:
            self.verdict = self.bound.judge(self.figure)

    def __str__(self):
        f = self.figure
        digits = 3 if f.median < 100 else 1
        values = [f"{v:.{digits}f}" for v in (f.median, f.q1, f.q3)]
        text = f"  {self.title:<46} {values[0]:>7}"
        text += f" {f'[{values[1]} {values[2]}]':<17}"
        if self.bound is not None:
            text += f" {self.bound!s:<8} {self.verdict}"
        return text.rstrip()


def ratios(cells, peer_cells, figure):
    if len(cells) != len(peer_cells):
        raise ValueError("pairs need both sides in every round")
    return comparison.summarise(
        [a[figure] / b[figure] for a, b in zip(cells, peer_cells)]
    )


def ideal_timer_rate(depth, completion_ns, plain_rate):
    """With a timer on each request nobody does better, for between the end of
    one and the start of the next on the same slot lies the time that a batch
    takes without a timer.
    """
    return depth / (completion_ns / 1e9 + depth / plain_rate)


def shares_of_ideal(timed_cells, plain_cells, depth, completion_ns):
    if len(timed_cells) != len(plain_cells):
        raise ValueError("pairs need both sides in every round")
    return comparison.summarise(
        [
            timed["rate"]
            / ideal_timer_rate(depth, completion_ns, plain["rate"])
            for timed, plain in zip(timed_cells, plain_cells)
        ]
    )


def print_lines(lines):
    """True when every requirement is met."""
    group = None
    for line in lines:
        if line.group != group:
            group = line.group
            print(f"\n{group}")
        print(line)
    required = [line for line in lines if line.verdict is not None]
    missed = [line for line in required if not line.verdict.met]
    clear = [line for line in missed if line.verdict.clear]
    print(
        "\nRequired of the medians.  ~: too close to tell, the bound lies"
        " within the 95 %\ninterval of the median."
        f"\n{len(required) - len(missed)} of {len(required)} requirements are"
        f" met.  NOT met: {len(missed)}, {len(clear)} of them clearly."
    )
    return not missed


def as_json(lines):
    return [
        {
            "group": line.group,
            "title": line.title,
            "figure": dataclasses.asdict(line.figure),
            "bound": str(line.bound) if line.bound is not None else None,
            "met": line.verdict.met if line.verdict is not None else None,
            "clear": line.verdict.clear if line.verdict is not None else None,
        }
        for line in lines
    ]
