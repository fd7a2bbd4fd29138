# SPDX-License-Identifier: BSD-3-Clause
"""What the scripts share that let servers take turns.

`options' below has what measuring.py wants, size_mib and seed.
"""

import datetime
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time

import measuring

def progress(text):
    print(text, file=sys.stderr, flush=True)


def fill(options, ready):
    for server in ready:
        if server.store:
            measuring.nbd_pipeline(options, server, "--fill")


def verify(options, ready):
    """The stores hold what fills and writes put there, all of it."""
    for server in ready:
        if server.store:
            measuring.nbd_pipeline(
                options,
                server,
                *("--verify", "--access", "sequential", "--block", "1M"),
                *("--depth", "4", "--warmup", "0"),
                *("--requests", str(options.size_mib)),
            )


def take_turns(options, plan, rounds, cells):
    """Appends one element a round to each cells[workload][server name].

    The plan has the servers of each workload; peers stand side by side.
    """
    clients = ", ".join(sorted({workload.client for workload in plan}))
    for number in range(rounds):
        start = time.monotonic()
        for index, (workload, ready) in enumerate(plan.items()):
            # Who goes first changes from round to round and, within a round,
            # from workload to workload.
            forward = (number + index) % 2 == 0
            for server in ready if forward else reversed(ready):
                cells[workload][server.name].append(
                    measuring.measure(
                        options, server, workload, options.seed + number
                    )
                )
        progress(
            f"{clients}: round {number + 1} of {rounds},"
            f" {time.monotonic() - start:.1f} s"
        )


def disk_image(options, stack):
    """An empty file for qemu-nbd, in memory if there is room."""
    size_bytes = options.size_mib << 20
    shm = pathlib.Path("/dev/shm")
    fits = shm.is_dir() and shutil.disk_usage(shm).free > 2 * size_bytes
    if not fits:
        progress(f"no room in {shm}: qemu-nbd's file is not in memory")
    directory = stack.enter_context(
        tempfile.TemporaryDirectory(prefix="blkmq.", dir=shm if fits else None)
    )
    path = pathlib.Path(directory, "disk.raw")
    with path.open("wb") as image:
        image.truncate(size_bytes)
    return path


def host():
    model = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(
            timespec="seconds"
        ),
    }
