# SPDX-License-Identifier: BSD-3-Clause
# The nbdkit plugin.  The engine is linked in statically, so that the file
# works wherever it lies; what nbdkit provides is resolved when it is loaded.

EXTRA_DIST += plugin/plugin.syms

if PLUGIN

plugin_LTLIBRARIES = plugin/nbdkit-blkmq-plugin.la

plugin_nbdkit_blkmq_plugin_la_SOURCES = \
	plugin/blkmq.c \
	plugin/help.c \
	plugin/plugin.h \
	plugin/request.c
plugin_nbdkit_blkmq_plugin_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBDKIT_CFLAGS)
plugin_nbdkit_blkmq_plugin_la_CFLAGS = $(AM_CFLAGS) $(LTO_CFLAGS)
plugin_nbdkit_blkmq_plugin_la_LDFLAGS = $(AM_LDFLAGS) $(LTO_LDFLAGS) \
	-module -avoid-version -shared \
	-Wl,--version-script=$(srcdir)/plugin/plugin.syms \
	-Wl,-Bsymbolic
plugin_nbdkit_blkmq_plugin_la_LIBADD = \
	src/libblkmq-ctl.la src/libblkmq-front.la src/libblkmq-engine.la
EXTRA_plugin_nbdkit_blkmq_plugin_la_DEPENDENCIES = plugin/plugin.syms

# For `nbdkit build/nbdkit-blkmq-plugin.so ...' without libtool's hidden
# directory.
noinst_DATA = nbdkit-blkmq-plugin.so
CLEANFILES += nbdkit-blkmq-plugin.so

nbdkit-blkmq-plugin.so: plugin/nbdkit-blkmq-plugin.la
	$(AM_V_GEN)rm -f $@ && \
	$(LN_S) plugin/.libs/nbdkit-blkmq-plugin.so $@

endif
