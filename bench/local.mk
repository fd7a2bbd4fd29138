# SPDX-License-Identifier: BSD-3-Clause
# Benchmarks.  The engine's runs against the shared library, with its driver
# in a shared library of its own.

EXTRA_DIST += bench/README.md
dist_noinst_SCRIPTS = bench/blkmqd bench/servers bench/filters bench/plots \
	bench/tls
dist_noinst_DATA = \
	bench/comparison.py \
	bench/contenders.py \
	bench/idle.py \
	bench/measuring.py \
	bench/plots.gnuplot \
	bench/reporting.py \
	bench/requirements.py \
	bench/settings.py \
	bench/turns.py

bench_tests = \
	bench/test-bare-loop \
	bench/test-comparison \
	bench/test-nbd-pipeline \
	bench/test-requirements
dist_check_SCRIPTS += $(bench_tests)
TESTS += $(bench_tests)

noinst_LTLIBRARIES += bench/libring.la
bench_libring_la_SOURCES = bench/ring-driver.c bench/ring-driver.h
bench_libring_la_LIBADD = src/libblkmq.la
bench_libring_la_LDFLAGS = $(AM_LDFLAGS) -avoid-version -shared -rpath /nowhere

if !SANITIZER
noinst_PROGRAMS += bench/engine bench/timer
bench_engine_SOURCES = \
	bench/engine.c \
	bench/engine.h \
	bench/engine-report.c \
	bench/engine-settings.c \
	bench/ring-driver.h
bench_engine_LDADD = bench/libring.la src/libblkmq.la $(EV_LIBS)
bench_timer_SOURCES = bench/timer.c
bench_timer_LDADD = src/libblkmq.la
endif

noinst_PROGRAMS += bench/nbd-pipeline
bench_nbd_pipeline_SOURCES = \
	bench/latency.h \
	bench/nbd-client.h \
	bench/nbd-connect.c \
	bench/nbd-load.c \
	bench/nbd-pipeline.c \
	bench/nbd-transmit.c

if HAVE_LIBNBD
noinst_PROGRAMS += bench/nbd-libnbd
bench_nbd_libnbd_SOURCES = bench/latency.h bench/nbd-libnbd.c
bench_nbd_libnbd_CFLAGS = $(AM_CFLAGS) $(LIBNBD_CFLAGS)
bench_nbd_libnbd_LDADD = $(LIBNBD_LIBS)
endif

# The yardstick: of the server only the protocol's numbers.
noinst_PROGRAMS += bench/bare-loop
bench_bare_loop_SOURCES = \
	bench/bare-handshake.c \
	bench/bare-loop.c \
	bench/bare-loop.h \
	bench/bare-transmit.c
bench_bare_loop_LDADD = $(EV_LIBS)
