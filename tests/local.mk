# SPDX-License-Identifier: BSD-3-Clause
# Tests.  `make check' runs all of them.  Each file unit/test-*.c is a program;
# each file in shell/ and man/ a script.

# A test gets its paths from the environment, never from where it is run.
AM_TESTS_ENVIRONMENT = \
	BLKMQ_BUILDDIR='$(abs_top_builddir)'; \
	BLKMQ_PLUGIN='$(abs_top_builddir)/nbdkit-blkmq-plugin.so'; \
	BLKMQ_NBDREQ='$(abs_top_builddir)/tests/nbd/nbdreq'; \
	BLKMQ_PREFILL='$(abs_top_builddir)/tests/nbd/.libs/nbdkit-prefill-filter.so'; \
	export BLKMQ_BUILDDIR BLKMQ_PLUGIN BLKMQ_NBDREQ BLKMQ_PREFILL;

if HAVE_CHECK

# Drivers that are for tests only.
check_LTLIBRARIES += tests/libtestdrivers.la
tests_libtestdrivers_la_SOURCES = \
	src/drivers/skeleton.c \
	src/drivers/table-test.c

unit_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
unit_libs = src/libblkmq-engine.la $(CHECK_LIBS)

# The scripted driver and the recorder of ends.
check_LTLIBRARIES += tests/libharness.la
tests_libharness_la_SOURCES = tests/unit/harness.c tests/unit/harness.h
tests_libharness_la_CFLAGS = $(unit_cflags)
harness_libs = tests/libharness.la $(unit_libs)

conformance_test = tests/conformance/test-conformance
tests_conformance_test_conformance_SOURCES = \
	tests/conformance/test-conformance.c \
	tests/conformance/wrap.c \
	tests/conformance/wrap.h
tests_conformance_test_conformance_CFLAGS = $(unit_cflags)
tests_conformance_test_conformance_LDADD = \
	tests/libtestdrivers.la $(unit_libs)

# Each is its one source file, with these flags and libraries.
unit_tests = \
	tests/unit/test-config \
	tests/unit/test-config-tables \
	tests/unit/test-config-values \
	tests/unit/test-dispatch \
	tests/unit/test-lifetime \
	tests/unit/test-split \
	tests/unit/test-store \
	tests/unit/test-store-memory \
	tests/unit/test-store-threads \
	tests/unit/test-tags \
	tests/unit/test-timeout \
	tests/unit/test-timer

tests_unit_test_config_SOURCES = \
	tests/unit/test-config.c tests/unit/config-fixture.h
tests_unit_test_config_CFLAGS = $(unit_cflags)
tests_unit_test_config_LDADD = $(unit_libs)
tests_unit_test_config_tables_CFLAGS = $(unit_cflags)
tests_unit_test_config_tables_LDADD = $(unit_libs)
tests_unit_test_config_values_CFLAGS = $(unit_cflags)
tests_unit_test_config_values_LDADD = $(unit_libs)
tests_unit_test_dispatch_CFLAGS = $(unit_cflags)
tests_unit_test_dispatch_LDADD = $(harness_libs)
tests_unit_test_lifetime_CFLAGS = $(unit_cflags)
tests_unit_test_lifetime_LDADD = $(harness_libs)
tests_unit_test_split_CFLAGS = $(unit_cflags)
tests_unit_test_split_LDADD = $(harness_libs)
tests_unit_test_store_SOURCES = tests/unit/test-store.c tests/unit/store-model.h
tests_unit_test_store_CFLAGS = $(unit_cflags)
tests_unit_test_store_LDADD = $(unit_libs)
tests_unit_test_store_memory_CFLAGS = $(unit_cflags)
tests_unit_test_store_memory_LDADD = $(unit_libs)
tests_unit_test_store_threads_CFLAGS = $(unit_cflags)
tests_unit_test_store_threads_LDADD = $(unit_libs)
tests_unit_test_tags_CFLAGS = $(unit_cflags)
tests_unit_test_tags_LDADD = $(harness_libs)
tests_unit_test_timeout_CFLAGS = $(unit_cflags)
tests_unit_test_timeout_LDADD = $(harness_libs)
tests_unit_test_timer_CFLAGS = $(unit_cflags)
tests_unit_test_timer_LDADD = $(harness_libs)

check_PROGRAMS += $(conformance_test) $(unit_tests)
TESTS += $(conformance_test) $(unit_tests)

endif
