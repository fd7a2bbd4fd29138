# SPDX-License-Identifier: BSD-3-Clause
"""The servers that blkmqd is compared with, and itself, as command lines.

`options' has size_mib, server_cpu and the paths blkmqd, bare_loop and plugin.
"""

import os

import settings
from measuring import Server

BUSY_POLL_US = 20  # blkmqd's default
MAX_DEPTH = 128  # the deepest queue here, and the kernel client's


PROGRAMS = {
    "blkmqd": "blkmqd",
    "bare-loop": "bench/bare-loop",
    "plugin": "nbdkit-blkmq-plugin.so",
}


def add_programs(parser, names):
    for name in names:
        parser.add_argument(
            f"--{name}",
            metavar="PATH",
            default=settings.built(PROGRAMS[name]),
            help="(default: the one in build/)",
        )


def check_programs(parser, options, names):
    """Their absolute paths; the plugin may be None."""
    if "plugin" in names and options.no_plugin:
        options.plugin = None
    for name in names:
        option = name.replace("-", "_")
        path = getattr(options, option)
        if path:
            setattr(options, option, os.path.abspath(path))
        elif name != "plugin":
            parser.error(f"{name} is not built")


def add_options(parser):
    add_programs(parser, PROGRAMS)
    for what in ("plugin", "qemu"):
        parser.add_argument(
            f"--no-{what}", action="store_true", help="leave it out"
        )


def check_options(parser, options):
    options.qemu = not (options.no_qemu or options.quick)
    check_programs(parser, options, PROGRAMS)


def bare(options, name, threads=1, busy_poll_us=BUSY_POLL_US, cpus=""):
    return Server(
        name,
        [options.bare_loop, f"--size-mib={options.size_mib}"]
        + [f"--threads={threads}", f"--busy-poll={busy_poll_us}"],
        ["--unix", "{socket}", "--pidfile", "{pid_file}"],
        True,
        cpus,
    )


def blkmqd(
    options, name, *keys, threads=1, busy_poll_us=BUSY_POLL_US, cpus=""
):
    return Server(
        name,
        [options.blkmqd, f"--threads={threads}"]
        + [f"--busy-poll={busy_poll_us}us", "--max-connections=2000"]
        # A tag for each request of the deepest queue.
        + [f"size={options.size_mib}M", f"hw_queue_depth={MAX_DEPTH}", *keys],
        ["--unix", "{socket}", "--pidfile", "{pid_file}"],
        True,
        cpus,
    )


def nbdkit(name, *config, threads=MAX_DEPTH, cpus=""):
    """Each of its requests in flight occupies a thread."""
    return Server(
        name,
        ["nbdkit", "-f", "-t", str(threads), *config],
        ["-U", "{socket}", "--pidfile", "{pid_file}"],
        True,
        cpus,
    )


def nbdkit_memory(options, name, threads=MAX_DEPTH, cpus=""):
    return nbdkit(
        *(name, "memory", f"{options.size_mib}M"), threads=threads, cpus=cpus
    )


def nbdkit_blkmq(options, name, threads=MAX_DEPTH):
    return nbdkit(
        *(name, options.plugin, f"size={options.size_mib}M"),
        f"hw_queue_depth={MAX_DEPTH}",
        threads=threads,
    )


def qemu_nbd(name, image):
    return Server(
        name,
        # Persistent, any number of clients, and no image format.
        ["qemu-nbd", "-t", "-e", "0", "-f", "raw", str(image)],
        ["-k", "{socket}", "--pid-file", "{pid_file}"],
        True,
    )
