# SPDX-License-Identifier: BSD-3-Clause
# blkmqd, the native NBD server.  All but main is a convenience library, which
# tests and fuzzers link.

noinst_LTLIBRARIES += src/server/libblkmqd.la
src_server_libblkmqd_la_SOURCES = \
	src/server/access.c \
	src/server/access.h \
	src/server/admission.c \
	src/server/admission.h \
	src/server/buffer.c \
	src/server/buffer.h \
	src/server/check.c \
	src/server/config-file.c \
	src/server/config-file.h \
	src/server/config-places.c \
	src/server/connection.c \
	src/server/daemon.c \
	src/server/daemon.h \
	src/server/handshake.c \
	src/server/input.c \
	src/server/internal.h \
	src/server/limits.c \
	src/server/listen.c \
	src/server/listen.h \
	src/server/listen-internal.h \
	src/server/listen-open.c \
	src/server/log.c \
	src/server/log.h \
	src/server/names.c \
	src/server/names.h \
	src/server/nbd.h \
	src/server/negotiate.c \
	src/server/negotiate.h \
	src/server/negotiate-fields.c \
	src/server/negotiate-internal.h \
	src/server/negotiate-options.c \
	src/server/notify.c \
	src/server/notify.h \
	src/server/options.c \
	src/server/options.h \
	src/server/options-access.c \
	src/server/options-check.c \
	src/server/options-help.c \
	src/server/options-internal.h \
	src/server/options-print.c \
	src/server/options-table.c \
	src/server/options-tls.c \
	src/server/output.c \
	src/server/passed.c \
	src/server/passed.h \
	src/server/privileges.c \
	src/server/privileges.h \
	src/server/process.c \
	src/server/process.h \
	src/server/reply.c \
	src/server/run.c \
	src/server/run.h \
	src/server/server.c \
	src/server/server.h \
	src/server/sparse.c \
	src/server/spin.c \
	src/server/stdio.c \
	src/server/stdio.h \
	src/server/tls.c \
	src/server/tls.h \
	src/server/tls-internal.h \
	src/server/tls-psk.c \
	src/server/tls-record.c \
	src/server/tls-session.c \
	src/server/transmit.c \
	src/server/transport.c \
	src/server/transport.h \
	src/server/worker.c
src_server_libblkmqd_la_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS) \
	$(INIH_CFLAGS) $(SYSTEMD_CFLAGS) $(GNUTLS_CFLAGS) -fvisibility=hidden
src_server_libblkmqd_la_LIBADD = $(INIH_LIBS) $(SYSTEMD_LIBS) $(GNUTLS_LIBS)

# Drivers that it loads find the engine in it.
bin_PROGRAMS += blkmqd
blkmqd_SOURCES = \
	src/server/blkmqd.h \
	src/server/end.c \
	src/server/main.c
blkmqd_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS)
blkmqd_LDFLAGS = $(AM_LDFLAGS) $(LTO_LDFLAGS) \
	'-Wl,--export-dynamic-symbol=blkmq_*'
blkmqd_LDADD = src/server/libblkmqd.la src/libblkmq-front.la \
	src/libblkmq-ctl.la src/libblkmq-engine.la

dist_bashcompletion_DATA += src/server/completion/blkmqd

# Units for systemd, which say where the program is.
units_in = src/server/units/blkmqd.service.in src/server/units/blkmqd@.service.in
units_made = $(units_in:.in=)
units_as_is = src/server/units/blkmqd.socket src/server/units/blkmqd@.socket
EXTRA_DIST += $(units_in)

if UNITS
dist_systemdsystemunit_DATA = $(units_as_is)
nodist_systemdsystemunit_DATA = $(units_made)
endif
CLEANFILES += $(units_made)

$(units_made): %: %.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's|@bindir[@]|$(bindir)|' \
	  -e 's|@sysconfdir[@]|$(sysconfdir)|' $< >$@.tmp && mv $@.tmp $@
examplesdir = $(docdir)/examples
dist_examples_DATA = doc/examples/blkmqd.conf
