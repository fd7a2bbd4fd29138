# SPDX-License-Identifier: BSD-3-Clause
# The engine and the drivers: one convenience library, which libblkmq, the
# plugin and the unit tests link; the tests reach hidden functions through it.

include_HEADERS += src/blkmq.h src/blkmq-control.h src/blkmq-driver.h

noinst_LTLIBRARIES += src/libblkmq-engine.la
src_libblkmq_engine_la_SOURCES = \
	src/blkmq.h \
	src/blkmq-control.h \
	src/blkmq-driver.h \
	src/text.c \
	src/text.h \
	src/engine/barrier.h \
	src/engine/clock.c \
	src/engine/clock.h \
	src/engine/config.c \
	src/engine/config.h \
	src/engine/config-check.c \
	src/engine/config-parse.c \
	src/engine/config-unknown.c \
	src/engine/control.c \
	src/engine/disk.c \
	src/engine/disk-setup.c \
	src/engine/disk.h \
	src/engine/dump.c \
	src/engine/dispatch.c \
	src/engine/dispatch.h \
	src/engine/elevator.c \
	src/engine/elevator.h \
	src/engine/enter.c \
	src/engine/enter.h \
	src/engine/fault-rules.c \
	src/engine/fault-rules.h \
	src/engine/flush.c \
	src/engine/flush.h \
	src/engine/freeze.c \
	src/engine/freeze.h \
	src/engine/handle.c \
	src/engine/hctx.c \
	src/engine/hctx.h \
	src/engine/histogram.c \
	src/engine/histogram.h \
	src/engine/inner.c \
	src/engine/inner.h \
	src/engine/io.c \
	src/engine/io.h \
	src/engine/iostat.c \
	src/engine/iostat.h \
	src/engine/keys.c \
	src/engine/line.h \
	src/engine/loop.c \
	src/engine/loop.h \
	src/engine/map.c \
	src/engine/map.h \
	src/engine/merge.c \
	src/engine/merge.h \
	src/engine/module.c \
	src/engine/module.h \
	src/engine/poison.h \
	src/engine/poll.c \
	src/engine/poll.h \
	src/engine/pool.c \
	src/engine/pool.h \
	src/engine/power.c \
	src/engine/power.h \
	src/engine/queue.c \
	src/engine/queue.h \
	src/engine/record.c \
	src/engine/record.h \
	src/engine/registry.c \
	src/engine/registry.h \
	src/engine/request.c \
	src/engine/request.h \
	src/engine/requeue.c \
	src/engine/requeue.h \
	src/engine/sched.c \
	src/engine/sched.h \
	src/engine/sched-deadline.c \
	src/engine/share.c \
	src/engine/share.h \
	src/engine/stack.c \
	src/engine/stack-control.c \
	src/engine/stack-internal.h \
	src/engine/stack-setup.c \
	src/engine/stack.h \
	src/engine/stale.c \
	src/engine/stale.h \
	src/engine/spin.h \
	src/engine/stats.c \
	src/engine/status.c \
	src/engine/submit.c \
	src/engine/sync.c \
	src/engine/sync.h \
	src/engine/tags.c \
	src/engine/tags.h \
	src/engine/tagset.c \
	src/engine/tagset.h \
	src/engine/thread.c \
	src/engine/thread.h \
	src/engine/timeout.c \
	src/engine/timeout.h \
	src/engine/timer.c \
	src/engine/timer.h \
	src/engine/update.c \
	src/engine/update.h \
	src/engine/update-prepare.c \
	src/engine/word.h \
	src/engine/yield.c \
	src/engine/yield.h \
	src/drivers/drivers.h \
	src/drivers/memory.c \
	src/drivers/null.c \
	src/drivers/poll-list.c \
	src/drivers/poll-list.h \
	src/drivers/store.c \
	src/drivers/store.h \
	src/drivers/store-discard.c \
	src/drivers/store-extents.c \
	src/drivers/store-huge.c \
	src/drivers/store-internal.h \
	src/drivers/store-pages.c \
	src/drivers/store-table.c \
	src/drivers/table.c \
	src/layers/badblocks.c \
	src/layers/cache.c \
	src/layers/cache.h \
	src/layers/cache-below.c \
	src/layers/cache-store.c \
	src/layers/cache-through.c \
	src/layers/cache-write.c \
	src/layers/delay.c \
	src/layers/fault.c \
	src/layers/fault.h \
	src/layers/fault-held.c \
	src/layers/fault-list.c \
	src/layers/fault-print.c \
	src/layers/fault-rule.c \
	src/layers/fault-setup.c \
	src/layers/fault-string.c \
	src/layers/fault-when.c \
	src/layers/layers.h \
	src/layers/ranges.c \
	src/layers/ranges.h \
	src/layers/table.c \
	src/layers/throttle.c
src_libblkmq_engine_la_CPPFLAGS = $(AM_CPPFLAGS) -DBLKMQ_DRIVER_BUILT_IN
src_libblkmq_engine_la_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS) -fvisibility=hidden
src_libblkmq_engine_la_LIBADD = $(EV_LIBS)

# What servers have in common: which disks there are, and sockets.  They link
# it, and the engine, statically.
noinst_LTLIBRARIES += src/libblkmq-front.la
src_libblkmq_front_la_SOURCES = \
	src/front/control.c \
	src/front/control.h \
	src/front/exports.c \
	src/front/exports.h \
	src/front/exports-check.c \
	src/front/exports-internal.h \
	src/front/exports-overlay.c \
	src/front/exports-run.c \
	src/front/help.c \
	src/front/help.h \
	src/front/keys.c \
	src/front/keys.h \
	src/front/nbd-answer.c \
	src/front/nbd-answer.h \
	src/front/path.c \
	src/front/path.h \
	src/front/stats.c \
	src/front/stats.h \
	src/front/unix-socket.c \
	src/front/unix-socket.h
src_libblkmq_front_la_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS) -fvisibility=hidden

lib_LTLIBRARIES += src/libblkmq.la
src_libblkmq_la_SOURCES =
src_libblkmq_la_LIBADD = src/libblkmq-engine.la
src_libblkmq_la_LDFLAGS = $(AM_LDFLAGS) $(LTO_LDFLAGS) \
	-version-info $(BLKMQ_LT_VERSION) \
	-Wl,--version-script=$(srcdir)/src/blkmq.syms \
	-Wl,-z,defs
EXTRA_src_libblkmq_la_DEPENDENCIES = src/blkmq.syms
EXTRA_DIST += src/blkmq.syms

# The control server: for front ends, not for libblkmq.  Goes with libblkmq-front.
noinst_LTLIBRARIES += src/libblkmq-ctl.la
src_libblkmq_ctl_la_SOURCES = \
	src/ctl/call.c \
	src/ctl/change.c \
	src/ctl/client.c \
	src/ctl/command.c \
	src/ctl/control.h \
	src/ctl/fault.c \
	src/ctl/internal.h \
	src/ctl/json.c \
	src/ctl/server.c \
	src/ctl/show.c \
	src/ctl/stats.c \
	src/ctl/worker.c
src_libblkmq_ctl_la_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS) $(JANSSON_CFLAGS) \
	-fvisibility=hidden
src_libblkmq_ctl_la_LIBADD = $(JANSSON_LIBS) $(EV_LIBS)
