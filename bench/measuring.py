# SPDX-License-Identifier: BSD-3-Clause
"""Starts servers, runs clients against them, reads clocks.

`options' below has seconds, warmup, fio_seconds, nice, client (the path of
nbd-pipeline), server_cpu and client_cpu.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import shlex
import subprocess
import sys
import time

START_LIMIT_S = 30
CELL_LIMIT_S = 120


class Failure(Exception):
    """Something could not be run; the message is for the user."""


def size(nr_bytes):
    for shift, unit in ((20, "MiB"), (10, "KiB")):
        if nr_bytes >= 1 << shift and nr_bytes % (1 << shift) == 0:
            return f"{nr_bytes >> shift} {unit}"
    return f"{nr_bytes} B"


@dataclasses.dataclass(frozen=True)
class Workload:
    client: str  # nbd-pipeline, fio, qemu-img bench or nbdcopy
    op: str  # read or write
    access: str  # random or sequential
    block_bytes: int
    depth: int
    connections: int = 1

    def __str__(self):
        some = f" x {self.connections}" if self.connections > 1 else ""
        return (
            f"{self.client}, {size(self.block_bytes)} {self.access} {self.op},"
            f" depth {self.depth}{some}"
        )


@dataclasses.dataclass
class Server:
    name: str
    command: list  # without where to listen
    listen: list  # options that take {socket} and {pid_file}
    store: bool  # keeps what is written: to be filled, and verified
    cpus: str = ""  # if they are not the server's CPU of all
    socket: str = ""
    pid: int = 0

    def cpu_clock(self):
        """The clock of the CPU time of all its threads, those gone included.

        That is utime + stime of /proc/PID/stat, but in nanoseconds instead of
        ticks of 10 ms: clock_getcpuclockid(3), which Python lacks.
        """
        return (~self.pid << 3) | 2

    def cpu_ns(self):
        return time.clock_gettime_ns(self.cpu_clock())


# Where the kernel groups tasks by session it compares niceness within a group
# only, so the group's own has to be set, too.
NICE = """
{ echo "$0" >/proc/self/autogroup; } 2>/dev/null || :
exec nice -n "$0" "$@"
"""


def pinned(options, cpu, command):
    """The command on that CPU; to be started in a session of its own."""
    prefix = ["sh", "-c", NICE, str(options.nice)] if options.nice else []
    return [*prefix, "taskset", "-c", str(cpu), *command]


def run(command, directory=None):
    done = subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CELL_LIMIT_S,
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure(
            f"{' '.join(command)}\n"
            f"ended with status {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


@contextlib.contextmanager
def started(server, options, directory):
    """The server, ready for connections; ended by its pid afterwards."""
    stem = directory / server.name.replace(" ", "-")
    paths = {"socket": f"{stem}.sock", "pid_file": f"{stem}.pid"}
    server.socket = paths["socket"]
    log = pathlib.Path(f"{stem}.log")
    command = server.command[:1]
    command += [word.format(**paths) for word in server.listen]
    command += server.command[1:]
    # If this script is killed the servers are to go, too.
    command = ["setpriv", "--pdeathsig", "TERM"] + pinned(
        options, server.cpus or options.server_cpu, command
    )
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server.pid = process.pid  # setpriv and taskset turn into the server
    try:
        deadline = time.monotonic() + START_LIMIT_S
        pid_file = pathlib.Path(paths["pid_file"])
        while not (pid_file.exists() and pid_file.read_text().strip()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"{' '.join(command)}: it does not start")
            time.sleep(0.01)
        yield server
        if process.poll() is not None:
            raise Failure(f"{server.name} ended ahead of time")
    except Failure as failure:
        status = process.poll()
        if status is None:
            raise
        raise Failure(
            f"{failure}\n{server.name} is gone, with status {status}:"
            f" {log.read_text().strip()}"
        ) from failure
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def nbd_pipeline(options, server, *arguments):
    """The client's report."""
    command = [options.client, "--unix", server.socket, *arguments]
    return json.loads(run(pinned(options, options.client_cpu, command)))


def measure_nbd_pipeline(options, server, workload, seed):
    report = nbd_pipeline(
        options,
        server,
        *("--op", workload.op),
        *("--access", workload.access),
        *("--block", str(workload.block_bytes)),
        *("--depth", str(workload.depth)),
        *("--connections", str(workload.connections)),
        *("--time", str(options.seconds)),
        *("--warmup", str(options.warmup)),
        *("--seed", str(seed)),
        *("--server-pid", str(server.pid)),
    )
    return {
        "rate": report["rate"],
        "cpu_us": report["server_cpu_us_per_request"],
        "p50_us": report["latency_us"]["p50"],
        "p99_us": report["latency_us"]["p99"],
        "p99.9_us": report["latency_us"]["p99.9"],
        "client_busy": report["client_cpu_busy"],
    }


def measure_fio(options, server, workload, seed):
    # fio connects twice, and each time nbdkit starts all its threads: more
    # work than a thousand requests.  So fio itself is made to look at the
    # server's clock, once connected and again before it disconnects.  It has
    # a shell run the commands, and their output goes to the current directory.
    look = (
        f"{shlex.quote(sys.executable)} -I -S -c"
        f" 'import time; print(time.clock_gettime_ns({server.cpu_clock()}))'"
    )
    command = [
        "fio",
        "--name=bench",
        "--output-format=json",
        "--thread",
        "--ioengine=nbd",
        f"--uri=nbd+unix:///?socket={server.socket}",
        f"--rw={'rand' if workload.access == 'random' else ''}{workload.op}",
        f"--bs={workload.block_bytes}",
        f"--iodepth={workload.depth}",
        "--time_based",
        f"--runtime={round(options.fio_seconds * 1000)}ms",
        "--norandommap",
        f"--randseed={seed}",
        f"--exec_prerun={look}",
        f"--exec_postrun={look}",
    ]
    directory = pathlib.Path(server.socket).parent
    output = run(pinned(options, options.client_cpu, command), directory)
    before_ns, after_ns = (
        int((directory / f"bench.{when}.txt").read_text())
        for when in ("prerun", "postrun")
    )
    # The engine writes a line ahead of the JSON.
    job = json.loads(output[output.index("{") :])["jobs"][0]
    side = job[workload.op]
    if job["error"] != 0 or side["total_ios"] == 0:
        raise Failure(f"fio on {server.name}: error {job['error']}")
    percentile = side["clat_ns"]["percentile"]
    return {
        "rate": side["iops"],
        "cpu_us": (after_ns - before_ns) / 1e3 / side["total_ios"],
        "p50_us": percentile["50.000000"] / 1e3,
        "p99_us": percentile["99.000000"] / 1e3,
        "p99.9_us": percentile["99.900000"] / 1e3,
        "client_busy": (job["usr_cpu"] + job["sys_cpu"]) / 100,
    }


def measure_by_hand(options, server, command, nr_requests):
    """A client that does so many requests and reports nothing of use: that it
    starts, connects and ends is in the figures.
    """
    cpu_ns = server.cpu_ns()
    client = resource.getrusage(resource.RUSAGE_CHILDREN)
    start_ns = time.monotonic_ns()
    output = run(pinned(options, options.client_cpu, command))
    elapsed_ns = time.monotonic_ns() - start_ns
    cpu_ns = server.cpu_ns() - cpu_ns
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    client_s = (
        used.ru_utime + used.ru_stime - client.ru_utime - client.ru_stime
    )
    return output, {
        "rate": nr_requests * 1e9 / elapsed_ns,
        "cpu_us": cpu_ns / 1e3 / nr_requests,
        "client_busy": client_s * 1e9 / elapsed_ns,
    }


def measure_qemu_img(options, server, workload, _seed):
    nr_requests = round(options.fio_seconds * 100000)
    output, found = measure_by_hand(
        options,
        server,
        [
            *("qemu-img", "bench", "-f", "raw", "-c", str(nr_requests)),
            *("-d", str(workload.depth), "-s", str(workload.block_bytes)),
            *(["-w"] if workload.op == "write" else []),
            f"nbd+unix:///?socket={server.socket}",
        ],
        nr_requests,
    )
    seconds = float(output.split("completed in")[1].split()[0])
    found["rate"] = nr_requests / seconds  # without its start
    return found


def measure_nbdcopy(options, server, workload, _seed):
    """The whole device, to nowhere."""
    _, found = measure_by_hand(
        options,
        server,
        [
            *("nbdcopy", f"--connections={workload.connections}"),
            f"--requests={workload.depth}",
            f"--request-size={workload.block_bytes}",
            *(f"nbd+unix:///?socket={server.socket}", "null:"),
        ],
        (options.size_mib << 20) // workload.block_bytes,
    )
    return found


def measure(options, server, workload, seed):
    """One cell: a client's run against a server."""
    by_client = {
        "nbd-pipeline": measure_nbd_pipeline,
        "fio": measure_fio,
        "qemu-img bench": measure_qemu_img,
        "nbdcopy": measure_nbdcopy,
    }
    return by_client[workload.client](options, server, workload, seed)


class Interference:
    """How busy others kept the two CPUs.  Rates suffer from it, CPU time a
    request much less.
    """

    def __init__(self, ready, cpus):
        self.ready = ready
        self.cpus = {f"cpu{cpu}" for cpu in cpus}
        self.start = self.sample()

    def sample(self):
        busy = steal = 0
        for line in pathlib.Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in self.cpus:
                user, nice, system, _, _, irq, softirq, stolen = map(
                    int, ticks[:8]
                )
                busy += user + nice + system + irq + softirq
                steal += stolen
        hz = os.sysconf("SC_CLK_TCK")
        ours = sum(server.cpu_ns() for server in self.ready) / 1e9
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            ours += used.ru_utime + used.ru_stime
        return time.monotonic(), busy / hz - ours, steal / hz

    def report(self):
        now, others, steal = (
            end - begin for begin, end in zip(self.start, self.sample())
        )
        capacity = now * len(self.cpus)
        return {
            "others_fraction": max(others, 0) / capacity,
            "steal_fraction": steal / capacity,
        }
