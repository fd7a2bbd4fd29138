# SPDX-License-Identifier: BSD-3-Clause
"""Tables of what `servers' measured, for people and for JSON."""

import dataclasses

import comparison


def count(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def columns(rounds):
    """A summary of each figure over the rounds."""
    return {
        key: comparison.summarise([cell[key] for cell in rounds])
        for key in rounds[0]
    }


def latency(column, key):
    """Not every client tells."""
    return f"{column[key].median:>8.1f}" if key in column else " " * 8


def print_workload(workload, by_server):
    print(
        f"\n{workload}\n"
        f"  {'':<18} {'requests/s':>10} {'[quartiles]':<20}"
        f" {'CPU us':>8} {'[quartiles]':<17} {'p50 us':>8} {'p99 us':>8}"
    )
    for name, rounds in by_server.items():
        column = columns(rounds)
        rate, cpu = column["rate"], column["cpu_us"]
        print(
            f"  {name:<18} {count(rate.median):>10}"
            f" {f'[{count(rate.q1)} {count(rate.q3)}]':<20}"
            f" {cpu.median:>8.2f} {f'[{cpu.q1:.2f} {cpu.q3:.2f}]':<17}"
            f" {latency(column, 'p50_us')} {latency(column, 'p99_us')}"
            # Then it was the client that set the rate.
            + (" c" if column["client_busy"].median > 0.95 else "")
        )


def print_pair(name, peer, by_workload, verdicts):
    def cell(ratio, verdict):
        text = f"{ratio.median:.3f} [{ratio.q1:.3f} {ratio.q3:.3f}]"
        return f"{text} {verdict!s:<9}" if verdicts else text

    title = f"{name} against {peer}"
    print(f"\n{title:<49}{'CPU ratio':<{31 if verdicts else 21}}rate ratio")
    for workload, found in by_workload.items():
        cpu = cell(found.cpu, found.cpu_verdict)
        rate = cell(found.rate, found.rate_verdict)
        print(f"  {workload!s:<46} {cpu}  {rate}".rstrip())


def print_verdict(required):
    """True when every requirement is met."""
    verdicts = [
        verdict
        for by_workload in required.values()
        for found in by_workload.values()
        for verdict in (found.cpu_verdict, found.rate_verdict)
    ]
    if not verdicts:
        print("\nRequirements: not measured, there was no plugin.")
        return False
    missed = [v for v in verdicts if not v.met]
    clear = [v for v in missed if v.clear]
    print(
        "\nRequired of the median of the ratios: server CPU time a request at"
        f" most {comparison.MAX_CPU_RATIO:.2f}, rate at least"
        f" {comparison.MIN_RATE_RATIO:.2f}.\n~: too close to tell, the bound"
        " lies within the 95 % interval of the median."
        f"\n{len(verdicts) - len(missed)} of {len(verdicts)} requirements are"
        f" met.  NOT met: {len(missed)}, {len(clear)} of them clearly."
    )
    return not missed


def measured(cells):
    return [
        {
            "workload": dataclasses.asdict(workload),
            "server": name,
            **{k: dataclasses.asdict(v) for k, v in columns(rounds).items()},
            "rounds": rounds,
        }
        for workload, by_server in cells.items()
        for name, rounds in by_server.items()
    ]


def compared(pairs):
    return [
        {
            "server": name,
            "peer": peer,
            "workload": dataclasses.asdict(workload),
            **dataclasses.asdict(found),
        }
        for (name, peer), by_workload in pairs.items()
        for workload, found in by_workload.items()
    ]
