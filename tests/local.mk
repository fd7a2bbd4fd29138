# SPDX-License-Identifier: BSD-3-Clause
# Tests.  `make check' runs all of them; each file under unit/ is a program.

AM_TESTS_ENVIRONMENT = \
	BLKMQ_PLUGIN='$(abs_top_builddir)/nbdkit-blkmq-plugin.so'; \
	BLKMQ_BUILDDIR='$(abs_top_builddir)'; \
	export BLKMQ_PLUGIN BLKMQ_BUILDDIR;

if HAVE_CHECK

# Drivers that are for tests only.
check_LTLIBRARIES += tests/libtestdrivers.la
tests_libtestdrivers_la_SOURCES = \
	src/drivers/skeleton.c \
	src/drivers/table-test.c

UNIT_LIBS = src/libblkmq-engine.la $(CHECK_LIBS)

unit_tests = \
	tests/conformance/test-conformance \
	tests/unit/test-config \
	tests/unit/test-store

check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)

tests_conformance_test_conformance_SOURCES = \
	tests/conformance/test-conformance.c \
	tests/conformance/wrap.c \
	tests/conformance/wrap.h
tests_conformance_test_conformance_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_conformance_test_conformance_LDADD = \
	tests/libtestdrivers.la $(UNIT_LIBS)

tests_unit_test_config_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_unit_test_config_LDADD = $(UNIT_LIBS)

tests_unit_test_store_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_unit_test_store_LDADD = $(UNIT_LIBS)

endif
