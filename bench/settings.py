# SPDX-License-Identifier: BSD-3-Clause
"""The command line that scripts share which let servers take turns."""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import turns
from measuring import Failure

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build"


def built(name):
    path = BUILD / name
    return str(path) if path.exists() else None


def parser(doc):
    return argparse.ArgumentParser(
        description=doc.split("\n", 1)[0],
        epilog="Status: 0 if all was measured, 1 if not, 2 for wrong options.",
    )


def add_common(to, rounds):
    add = to.add_argument
    add(
        "--client",
        metavar="PATH",
        default=built("bench/nbd-pipeline"),
        help="nbd-pipeline (default: the one in build/)",
    )
    add(
        "--json",
        metavar="FILE",
        type=pathlib.Path,
        help="where all samples go (default: beside the client)",
    )
    add(
        "--quick",
        action="store_true",
        help="fewer workloads and rounds, no qemu-nbd",
    )
    add(
        "--only",
        metavar="REGEX",
        default="",
        help="workloads whose title matches, for instance 'write, depth 32'",
    )
    add(
        "--strict",
        action="store_true",
        help="status 1 also when a requirement is not met",
    )
    add(
        "--rounds",
        type=int,
        help=f"with nbd-pipeline (default {rounds}; 9 if quick)",
    )
    to.set_defaults(normal_rounds=rounds)
    add("--seconds", type=float, help="of a measurement (default 0.1)")
    add("--warmup", type=float, default=0.02, help="seconds (default 0.02)")
    add("--fio-rounds", type=int, default=9, help="(default 9)")
    add("--fio-seconds", type=float, help="(default 0.2)")
    add("--size-mib", type=int, default=256, help="of the disks (default 256)")
    add("--seed", type=int, default=1, help="of the first round (default 1)")
    add(
        "--nice",
        type=int,
        default=0,
        help="of servers and clients; -20 on a machine with other work to do",
    )
    add("--server-cpu", type=int)
    add("--client-cpu", type=int)


def two_cpus(complain):
    """The first two CPUs that do not share a core, if there are such."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        complain("server and client need a CPU each, and there is one only")

    def siblings(cpu):
        path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings"
        with contextlib.suppress(OSError):
            return pathlib.Path(path).read_text()
        return str(cpu)

    first = allowed[0]
    others = [c for c in allowed[1:] if siblings(c) != siblings(first)]
    return first, (others or allowed[1:])[0]


def check_common(of, options, json_name):
    """Completes what was left to defaults."""
    for name, normal, quick in (
        ("rounds", options.normal_rounds, 9),
        ("seconds", 0.1, 0.1),
        ("fio_seconds", 0.2, 0.1),
    ):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else normal)
    try:
        re.compile(options.only)
    except re.error as error:
        of.error(f"--only={options.only}: {error}")
    if min(options.rounds, options.fio_rounds) < 1:
        of.error("--rounds and --fio-rounds must be positive")
    if not (
        0.001 <= options.seconds <= 60
        and 0.001 <= options.fio_seconds <= 60
        and 0 <= options.warmup <= 60
    ):
        of.error("measurements and warm-ups last 1 ms to 60 s")
    if not 1 <= options.size_mib <= 1024:
        of.error(f"--size-mib={options.size_mib}: allowed are 1 to 1024")
    server_cpu, client_cpu = two_cpus(of.error)
    if options.server_cpu is None:
        options.server_cpu = server_cpu
    if options.client_cpu is None:
        options.client_cpu = client_cpu
    if not options.client:
        of.error("nbd-pipeline is not built; or say --client")
    options.client = os.path.abspath(options.client)
    if options.json is None:
        options.json = pathlib.Path(options.client).parent / json_name
    if not os.access(options.json.absolute().parent, os.W_OK):
        of.error(f"--json={options.json}: cannot be written there")


def check_tools(needed, wanted, options):
    """Some must be there, others (tool: option) are left out if not."""
    for tool in needed:
        if not shutil.which(tool):
            raise Failure(f"{tool}: there is no such program")
    for tool, option in wanted.items():
        if getattr(options, option) and not shutil.which(tool):
            turns.progress(f"{tool} is not installed: left out")
            setattr(options, option, False)


def document(options):
    """For JSON."""
    return {
        key: value if isinstance(value, (int, float)) else str(value)
        for key, value in vars(options).items()
    }


def guarded(name, options, work):
    """The script's status.  Work says whether every requirement is met."""
    # So that everything that was started is ended, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        met = work()
    except (Failure, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    return 1 if options.strict and not met else 0
