# SPDX-License-Identifier: BSD-3-Clause
# blkmqctl, the client of the control socket.  It links neither the engine nor
# libblkmq: of these it has the arithmetic of histograms alone.

noinst_LTLIBRARIES += src/blkmqctl/libblkmqctl.la
src_blkmqctl_libblkmqctl_la_SOURCES = \
	src/blkmqctl/change.c \
	src/blkmqctl/client.c \
	src/blkmqctl/client.h \
	src/blkmqctl/ctl.c \
	src/blkmqctl/ctl.h \
	src/blkmqctl/format.c \
	src/blkmqctl/format.h \
	src/blkmqctl/memory.c \
	src/blkmqctl/memory.h \
	src/blkmqctl/sample.c \
	src/blkmqctl/sample.h \
	src/blkmqctl/screen.c \
	src/blkmqctl/screen.h \
	src/blkmqctl/show.c \
	src/blkmqctl/stats.c \
	src/blkmqctl/table.c \
	src/blkmqctl/table.h \
	src/blkmqctl/top.c \
	src/blkmqctl/view.c \
	src/blkmqctl/view.h \
	src/engine/histogram.c \
	src/engine/histogram.h
src_blkmqctl_libblkmqctl_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) \
	-fvisibility=hidden
src_blkmqctl_libblkmqctl_la_LIBADD = $(JANSSON_LIBS)

bin_PROGRAMS += blkmqctl
blkmqctl_SOURCES = src/blkmqctl/blkmqctl.c
blkmqctl_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
blkmqctl_LDADD = src/blkmqctl/libblkmqctl.la -lm

bashcompletiondir = @bashcompletiondir@
dist_bashcompletion_DATA = src/blkmqctl/completion/blkmqctl
