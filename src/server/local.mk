# SPDX-License-Identifier: BSD-3-Clause
# blkmqd, the native NBD server.  All but main is a convenience library, which
# tests and fuzzers link.

noinst_LTLIBRARIES += src/server/libblkmqd.la
src_server_libblkmqd_la_SOURCES = \
	src/server/log.c \
	src/server/log.h \
	src/server/nbd.h \
	src/server/negotiate.h \
	src/server/server.h
src_server_libblkmqd_la_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS) -fvisibility=hidden
