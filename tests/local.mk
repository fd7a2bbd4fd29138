# SPDX-License-Identifier: BSD-3-Clause
# Tests.  `make check' runs all of them.  Each file unit/test-*.c is a program;
# each file in shell/ and man/ a script.

EXTRA_DIST += tests/model tests/outside tests/stress/jitter.c tests/stress/mutants tests/symbols.list \
	tests/vm

# A test gets its paths from the environment, never from where it is run.
AM_TESTS_ENVIRONMENT = \
	BLKMQ_BUILDDIR='$(abs_top_builddir)'; \
	BLKMQ_PLUGIN='$(abs_top_builddir)/nbdkit-blkmq-plugin.so'; \
	BLKMQ_NBDREQ='$(abs_top_builddir)/tests/nbd/nbdreq'; \
	BLKMQ_PREFILL='$(abs_top_builddir)/tests/nbd/.libs/nbdkit-prefill-filter.so'; \
	BLKMQ_BLKMQD='$(abs_top_builddir)/blkmqd'; \
	BLKMQ_CTL='$(abs_top_builddir)/blkmqctl'; \
	BLKMQ_PEER='$(abs_top_builddir)/tests/blkmqctl/peer'; \
	export BLKMQ_BLKMQD BLKMQ_BUILDDIR BLKMQ_PLUGIN BLKMQ_NBDREQ BLKMQ_PREFILL \
	  BLKMQ_CTL BLKMQ_PEER;

# ---- everything at once, at random ----

stress_program = tests/stress/stress
tests_stress_stress_SOURCES = \
	tests/stress/crowd.c \
	tests/stress/device.c \
	tests/stress/main.c \
	tests/stress/matrix.c \
	tests/stress/slot.c \
	tests/stress/stress.h \
	tests/stress/unit.c
tests_stress_stress_LDADD = src/libblkmq-engine.la

# A short run with a seed that is drawn; `./dev stress' does long ones.
check_PROGRAMS += $(stress_program)
TESTS += $(stress_program)

# ---- the native server, fuzzed ----

# The targets over their corpora; `./dev fuzz' links the same to libFuzzer.
fuzz_common = tests/fuzz/disks.c tests/fuzz/disks.h tests/fuzz/fuzz.h
fuzz_libs = \
	src/server/libblkmqd.la src/libblkmq-front.la src/libblkmq-engine.la
fuzz_wrap = -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc \
	-Wl,--wrap=aligned_alloc
tests_fuzz_replay_negotiate_SOURCES = \
	tests/fuzz/fuzz-negotiate.c tests/fuzz/replay.c $(fuzz_common)
tests_fuzz_replay_negotiate_LDADD = $(fuzz_libs)
tests_fuzz_replay_transmit_SOURCES = \
	tests/fuzz/fuzz-transmit.c tests/fuzz/replay.c $(fuzz_common)
tests_fuzz_replay_transmit_LDFLAGS = $(AM_LDFLAGS) $(fuzz_wrap)
tests_fuzz_replay_transmit_LDADD = $(fuzz_libs)
tests_fuzz_replay_config_SOURCES = \
	tests/fuzz/fuzz-config.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_config_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=log_line
tests_fuzz_replay_config_LDADD = $(fuzz_libs)
check_PROGRAMS += tests/fuzz/replay-config tests/fuzz/replay-negotiate \
	tests/fuzz/replay-transmit
dist_check_SCRIPTS += tests/fuzz/test-corpora.sh
TESTS += tests/fuzz/test-corpora.sh
EXTRA_DIST += tests/fuzz/corpus-config tests/fuzz/corpus-negotiate \
	tests/fuzz/corpus-transmit tests/fuzz/config.dict tests/fuzz/nbd.dict

EXTRA_PROGRAMS = tests/fuzz/fuzz-config tests/fuzz/fuzz-negotiate \
	tests/fuzz/fuzz-transmit
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz-config.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_config_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=log_line \
	-fsanitize=fuzzer
tests_fuzz_fuzz_config_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_negotiate_SOURCES = tests/fuzz/fuzz-negotiate.c $(fuzz_common)
tests_fuzz_fuzz_negotiate_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_negotiate_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_transmit_SOURCES = tests/fuzz/fuzz-transmit.c $(fuzz_common)
tests_fuzz_fuzz_transmit_LDFLAGS = $(AM_LDFLAGS) $(fuzz_wrap) -fsanitize=fuzzer
tests_fuzz_fuzz_transmit_LDADD = $(fuzz_libs)

# ---- blkmqctl against a scripted peer ----

check_PROGRAMS += tests/blkmqctl/peer
tests_blkmqctl_peer_SOURCES = tests/blkmqctl/peer.c

if HAVE_CHECK

# What it computes and lays out.
blkmqctl_test = tests/blkmqctl/test-blkmqctl
tests_blkmqctl_test_blkmqctl_SOURCES = tests/blkmqctl/test-blkmqctl.c
tests_blkmqctl_test_blkmqctl_CFLAGS = \
	$(AM_CFLAGS) $(CHECK_CFLAGS) $(JANSSON_CFLAGS)
tests_blkmqctl_test_blkmqctl_LDADD = \
	src/blkmqctl/libblkmqctl.la $(CHECK_LIBS)
check_PROGRAMS += $(blkmqctl_test)
TESTS += $(blkmqctl_test)

# Drivers that are for tests only.
check_LTLIBRARIES += tests/libtestdrivers.la
tests_libtestdrivers_la_SOURCES = \
	src/drivers/skeleton.c \
	src/drivers/table-test.c
tests_libtestdrivers_la_CPPFLAGS = $(AM_CPPFLAGS) -DBLKMQ_DRIVER_BUILT_IN

# The same as a module, from the public headers alone.
check_LTLIBRARIES += tests/skeleton.la
tests_skeleton_la_SOURCES = src/drivers/skeleton.c
tests_skeleton_la_LDFLAGS = $(AM_LDFLAGS) \
	-module -avoid-version -shared -rpath /nowhere

unit_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
unit_libs = src/libblkmq-engine.la $(CHECK_LIBS)

# For programs that load drivers: the engine inside is visible to them.
export_engine = '-Wl,--export-dynamic-symbol=blkmq_*'

# The scripted driver and the recorder of ends.
check_LTLIBRARIES += tests/libharness.la
tests_libharness_la_SOURCES = tests/unit/harness.c tests/unit/harness.h
tests_libharness_la_CFLAGS = $(unit_cflags)
harness_libs = tests/libharness.la $(unit_libs)

# The engine as a debug build makes it, whatever this build is: with flight
# records, yield points, and the end for drivers that give back twice.
debug_cflags = $(unit_cflags) -DBLKMQ_DEBUG=1
check_LTLIBRARIES += tests/libblkmq-debug.la tests/libharness-debug.la
tests_libblkmq_debug_la_SOURCES = $(src_libblkmq_engine_la_SOURCES)
tests_libblkmq_debug_la_CFLAGS = $(debug_cflags)
tests_libblkmq_debug_la_LIBADD = $(EV_LIBS)
tests_libharness_debug_la_SOURCES = $(tests_libharness_la_SOURCES)
tests_libharness_debug_la_CFLAGS = $(debug_cflags)
debug_libs = tests/libharness-debug.la tests/libblkmq-debug.la $(CHECK_LIBS)

conformance_test = tests/conformance/test-conformance
tests_conformance_test_conformance_SOURCES = \
	tests/conformance/test-conformance.c \
	tests/conformance/wrap.c \
	tests/conformance/wrap.h
tests_conformance_test_conformance_CFLAGS = $(unit_cflags)
tests_conformance_test_conformance_LDFLAGS = $(AM_LDFLAGS) $(export_engine)
tests_conformance_test_conformance_LDADD = \
	tests/libtestdrivers.la $(unit_libs)

# Each is its one source file, with these flags and libraries.
unit_tests = \
	tests/unit/test-access \
	tests/unit/test-badblocks \
	tests/unit/test-badblocks-ranges \
	tests/unit/test-cache \
	tests/unit/test-cache-model \
	tests/unit/test-cache-threads \
	tests/unit/test-config \
	tests/unit/test-config-tables \
	tests/unit/test-config-values \
	tests/unit/test-disk \
	tests/unit/test-dispatch \
	tests/unit/test-elevator \
	tests/unit/test-exports \
	tests/unit/test-exports-overlay \
	tests/unit/test-fault \
	tests/unit/test-fault-rules \
	tests/unit/test-flush \
	tests/unit/test-flush-model \
	tests/unit/test-freeze \
	tests/unit/test-interleave \
	tests/unit/test-interleave-flush \
	tests/unit/test-interleave-live \
	tests/unit/test-interleave-sched \
	tests/unit/test-interleave-share \
	tests/unit/test-control \
	tests/unit/test-histogram \
	tests/unit/test-iostats \
	tests/unit/test-knobs \
	tests/unit/test-layers \
	tests/unit/test-lifetime \
	tests/unit/test-loop \
	tests/unit/test-map \
	tests/unit/test-mistakes \
	tests/unit/test-record \
	tests/unit/test-requeue \
	tests/unit/test-merge \
	tests/unit/test-poll \
	tests/unit/test-poll-live \
	tests/unit/test-power \
	tests/unit/test-sched \
	tests/unit/test-module \
	tests/unit/test-nbd-answer \
	tests/unit/test-negotiate \
	tests/unit/test-negotiate-pieces \
	tests/unit/test-negotiate-tls \
	tests/unit/test-nullblk-behaviours \
	tests/unit/test-spin \
	tests/unit/test-split \
	tests/unit/test-stats \
	tests/unit/test-store \
	tests/unit/test-store-huge \
	tests/unit/test-store-memory \
	tests/unit/test-store-threads \
	tests/unit/test-sync \
	tests/unit/test-tags \
	tests/unit/test-tagset \
	tests/unit/test-throttle \
	tests/unit/test-timeout \
	tests/unit/test-timer \
	tests/unit/test-unix-socket \
	tests/unit/test-update

# They replace the allocator, which under a sanitizer is its own.
if !SANITIZER
unit_tests += tests/unit/test-alloc tests/unit/test-failures
endif

tests_unit_test_badblocks_CFLAGS = $(unit_cflags)
tests_unit_test_badblocks_LDADD = $(harness_libs)
tests_unit_test_badblocks_ranges_CFLAGS = $(unit_cflags)
tests_unit_test_badblocks_ranges_LDADD = $(harness_libs)
tests_unit_test_cache_SOURCES = \
	tests/unit/test-cache.c tests/unit/cache-bed.h
tests_unit_test_cache_CFLAGS = $(unit_cflags)
tests_unit_test_cache_LDADD = $(harness_libs)
tests_unit_test_power_SOURCES = \
	tests/unit/test-power.c tests/unit/cache-bed.h
tests_unit_test_power_CFLAGS = $(unit_cflags)
tests_unit_test_power_LDADD = $(harness_libs)
tests_unit_test_cache_model_SOURCES = \
	tests/unit/test-cache-model.c tests/unit/cache-model.h
tests_unit_test_cache_model_CFLAGS = $(unit_cflags)
tests_unit_test_cache_model_LDADD = $(harness_libs)
tests_unit_test_cache_threads_SOURCES = \
	tests/unit/test-cache-threads.c tests/unit/cache-model.h
tests_unit_test_cache_threads_CFLAGS = $(unit_cflags)
tests_unit_test_cache_threads_LDADD = $(harness_libs)
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
tests_unit_test_knobs_SOURCES = \
	tests/unit/knob-effects.c tests/unit/knobs.h tests/unit/test-knobs.c
tests_unit_test_knobs_CPPFLAGS = $(AM_CPPFLAGS) \
	-DMANUAL='"$(abs_top_srcdir)/man/nbdkit-blkmq-plugin.pod"'
tests_unit_test_knobs_CFLAGS = $(unit_cflags)
tests_unit_test_knobs_LDADD = src/libblkmq-front.la $(harness_libs)
tests_unit_test_layers_CFLAGS = $(unit_cflags)
tests_unit_test_layers_LDADD = $(harness_libs)
tests_unit_test_lifetime_CFLAGS = $(unit_cflags)
tests_unit_test_lifetime_LDADD = $(harness_libs)
tests_unit_test_alloc_CFLAGS = $(unit_cflags)
tests_unit_test_alloc_LDADD = $(harness_libs)
tests_unit_test_failures_CFLAGS = $(unit_cflags)
tests_unit_test_failures_LDADD = $(harness_libs) $(EV_LIBS)
tests_unit_test_disk_CFLAGS = $(unit_cflags)
tests_unit_test_disk_LDADD = $(harness_libs)
tests_unit_test_elevator_CFLAGS = $(unit_cflags)
tests_unit_test_elevator_LDADD = $(harness_libs)
tests_unit_test_exports_CFLAGS = $(unit_cflags)
tests_unit_test_exports_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pthread_create \
	-Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=reallocarray \
	-Wl,--wrap=aligned_alloc -Wl,--wrap=strdup -Wl,--wrap=getrandom
tests_unit_test_exports_LDADD = src/libblkmq-front.la $(harness_libs)
tests_unit_test_exports_overlay_CFLAGS = $(unit_cflags)
tests_unit_test_exports_overlay_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc \
	-Wl,--wrap=reallocarray -Wl,--wrap=strdup
tests_unit_test_exports_overlay_LDADD = src/libblkmq-front.la $(harness_libs)
tests_unit_test_fault_CFLAGS = $(unit_cflags)
tests_unit_test_fault_LDADD = $(harness_libs)
tests_unit_test_fault_rules_CFLAGS = $(unit_cflags)
tests_unit_test_fault_rules_LDADD = $(harness_libs)
tests_unit_test_flush_CFLAGS = $(unit_cflags)
tests_unit_test_flush_LDADD = $(harness_libs)
tests_unit_test_flush_model_CFLAGS = $(unit_cflags)
tests_unit_test_flush_model_LDADD = $(harness_libs)
tests_unit_test_freeze_CFLAGS = $(unit_cflags)
tests_unit_test_freeze_LDADD = $(harness_libs)
tests_unit_test_map_CFLAGS = $(unit_cflags)
tests_unit_test_map_LDADD = $(harness_libs)
tests_unit_test_poll_CFLAGS = $(unit_cflags)
tests_unit_test_poll_LDADD = $(harness_libs)
tests_unit_test_poll_live_CFLAGS = $(unit_cflags)
tests_unit_test_poll_live_LDADD = $(harness_libs)
# Interleavings, explored: the engine's locks are where threads change, too.
explore_ldflags = $(AM_LDFLAGS) \
	-Wl,--wrap=pthread_mutex_lock -Wl,--wrap=pthread_mutex_unlock
tests_unit_test_interleave_SOURCES = \
	tests/unit/test-interleave.c tests/unit/explore.c tests/unit/explore.h
tests_unit_test_interleave_CFLAGS = $(debug_cflags)
tests_unit_test_interleave_LDFLAGS = $(explore_ldflags)
tests_unit_test_interleave_LDADD = $(debug_libs)
race_sources = tests/unit/races.c tests/unit/races.h \
	tests/unit/explore.c tests/unit/explore.h
tests_unit_test_interleave_flush_SOURCES = \
	tests/unit/test-interleave-flush.c $(race_sources)
tests_unit_test_interleave_flush_CFLAGS = $(debug_cflags)
tests_unit_test_interleave_flush_LDFLAGS = $(explore_ldflags)
tests_unit_test_interleave_flush_LDADD = $(debug_libs)
tests_unit_test_interleave_live_SOURCES = \
	tests/unit/test-interleave-live.c $(race_sources)
tests_unit_test_interleave_live_CFLAGS = $(debug_cflags)
tests_unit_test_interleave_live_LDFLAGS = $(explore_ldflags)
tests_unit_test_interleave_live_LDADD = $(debug_libs)
tests_unit_test_interleave_sched_SOURCES = \
	tests/unit/test-interleave-sched.c $(race_sources)
tests_unit_test_interleave_sched_CFLAGS = $(debug_cflags)
tests_unit_test_interleave_sched_LDFLAGS = $(explore_ldflags)
tests_unit_test_interleave_sched_LDADD = $(debug_libs)
tests_unit_test_interleave_share_SOURCES = \
	tests/unit/test-interleave-share.c $(race_sources)
tests_unit_test_interleave_share_CFLAGS = $(debug_cflags)
tests_unit_test_interleave_share_LDFLAGS = $(explore_ldflags)
tests_unit_test_interleave_share_LDADD = $(debug_libs)
tests_unit_test_mistakes_CFLAGS = $(unit_cflags)
tests_unit_test_mistakes_LDADD = $(harness_libs)
tests_unit_test_record_CFLAGS = $(debug_cflags)
tests_unit_test_record_LDADD = $(debug_libs)
tests_unit_test_loop_CFLAGS = $(unit_cflags)
tests_unit_test_loop_LDADD = $(harness_libs)
tests_unit_test_access_CFLAGS = $(unit_cflags)
tests_unit_test_access_LDADD = \
	src/server/libblkmqd.la src/libblkmq-front.la $(harness_libs)
tests_unit_test_unix_socket_CFLAGS = $(unit_cflags)
tests_unit_test_unix_socket_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=listen
tests_unit_test_unix_socket_LDADD = src/libblkmq-front.la $(harness_libs)
tests_unit_test_nbd_answer_CFLAGS = $(unit_cflags)
tests_unit_test_nbd_answer_LDADD = src/libblkmq-front.la $(harness_libs)
negotiate_client = \
	tests/unit/negotiate-client.c tests/unit/negotiate-client.h
negotiate_libs = \
	src/server/libblkmqd.la src/libblkmq-front.la $(harness_libs)
tests_unit_test_negotiate_SOURCES = \
	tests/unit/test-negotiate.c $(negotiate_client)
tests_unit_test_negotiate_CFLAGS = $(unit_cflags)
tests_unit_test_negotiate_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_unit_test_negotiate_LDADD = $(negotiate_libs)
tests_unit_test_negotiate_pieces_SOURCES = \
	tests/unit/test-negotiate-pieces.c $(negotiate_client)
tests_unit_test_negotiate_pieces_CFLAGS = $(unit_cflags)
tests_unit_test_negotiate_pieces_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_unit_test_negotiate_pieces_LDADD = $(negotiate_libs)
tests_unit_test_negotiate_tls_SOURCES = \
	tests/unit/test-negotiate-tls.c $(negotiate_client)
tests_unit_test_negotiate_tls_CFLAGS = $(unit_cflags)
tests_unit_test_negotiate_tls_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_unit_test_negotiate_tls_LDADD = $(negotiate_libs)
tests_unit_test_nullblk_behaviours_CFLAGS = $(unit_cflags)
tests_unit_test_nullblk_behaviours_LDADD = $(harness_libs)
tests_unit_test_requeue_CFLAGS = $(unit_cflags)
tests_unit_test_requeue_LDADD = $(harness_libs)
tests_unit_test_merge_CFLAGS = $(unit_cflags)
tests_unit_test_merge_LDADD = $(harness_libs)
tests_unit_test_sched_CFLAGS = $(unit_cflags)
tests_unit_test_sched_LDADD = $(harness_libs)
tests_unit_test_module_CPPFLAGS = $(AM_CPPFLAGS) \
	-DSKELETON='"$(abs_top_builddir)/tests/.libs/skeleton.so"'
tests_unit_test_module_CFLAGS = $(unit_cflags)
tests_unit_test_module_LDFLAGS = $(AM_LDFLAGS) $(export_engine)
tests_unit_test_module_LDADD = $(harness_libs)
EXTRA_tests_unit_test_module_DEPENDENCIES = tests/skeleton.la
tests_unit_test_stats_CFLAGS = $(unit_cflags)
tests_unit_test_stats_LDADD = $(harness_libs)
tests_unit_test_split_CFLAGS = $(unit_cflags)
tests_unit_test_split_LDADD = $(harness_libs)
tests_unit_test_store_SOURCES = tests/unit/test-store.c tests/unit/store-model.h
tests_unit_test_store_CFLAGS = $(unit_cflags)
tests_unit_test_store_LDADD = $(unit_libs)
tests_unit_test_store_huge_CFLAGS = $(unit_cflags)
tests_unit_test_store_huge_LDADD = $(unit_libs)
tests_unit_test_store_memory_CFLAGS = $(unit_cflags)
tests_unit_test_store_memory_LDADD = $(unit_libs)
tests_unit_test_store_threads_CFLAGS = $(unit_cflags)
tests_unit_test_store_threads_LDADD = $(unit_libs)
tests_unit_test_tags_CFLAGS = $(unit_cflags)
tests_unit_test_tags_LDADD = $(harness_libs)
tests_unit_test_tagset_CFLAGS = $(unit_cflags)
tests_unit_test_tagset_LDADD = $(harness_libs)
tests_unit_test_sync_CFLAGS = $(unit_cflags)
tests_unit_test_sync_LDADD = $(harness_libs)
tests_unit_test_control_CFLAGS = $(unit_cflags)
tests_unit_test_control_LDADD = $(harness_libs)
tests_unit_test_update_CFLAGS = $(unit_cflags)
tests_unit_test_update_LDADD = $(harness_libs)
tests_unit_test_throttle_CFLAGS = $(unit_cflags)
tests_unit_test_throttle_LDADD = $(harness_libs)
tests_unit_test_timeout_CFLAGS = $(unit_cflags)
tests_unit_test_timeout_LDADD = $(harness_libs)
tests_unit_test_histogram_CFLAGS = $(unit_cflags)
tests_unit_test_histogram_LDADD = $(harness_libs)
tests_unit_test_iostats_CFLAGS = $(unit_cflags)
tests_unit_test_iostats_LDADD = $(harness_libs)
tests_unit_test_spin_CFLAGS = $(unit_cflags)
tests_unit_test_spin_LDADD = $(harness_libs)
tests_unit_test_timer_CFLAGS = $(unit_cflags)
tests_unit_test_timer_LDADD = $(harness_libs)

# The control server over the harness' disks.
ctl_cflags = $(unit_cflags) $(JANSSON_CFLAGS)
ctl_libs = tests/libpeer.la src/libblkmq-ctl.la src/libblkmq-front.la \
	$(harness_libs)
check_LTLIBRARIES += tests/libpeer.la
tests_libpeer_la_SOURCES = tests/ctl/peer.c tests/ctl/peer.h
tests_libpeer_la_CFLAGS = $(ctl_cflags)

ctl_tests = \
	tests/ctl/test-control-commands \
	tests/ctl/test-control-faults \
	tests/ctl/test-control-fuzz \
	tests/ctl/test-control-hostile \
	tests/ctl/test-control-socket
tests_ctl_test_control_commands_CFLAGS = $(ctl_cflags)
tests_ctl_test_control_commands_LDADD = $(ctl_libs)
tests_ctl_test_control_faults_CFLAGS = $(ctl_cflags)
tests_ctl_test_control_faults_LDADD = $(ctl_libs)
tests_ctl_test_control_fuzz_CFLAGS = $(ctl_cflags)
tests_ctl_test_control_fuzz_LDADD = $(ctl_libs)
tests_ctl_test_control_hostile_CFLAGS = $(ctl_cflags)
tests_ctl_test_control_hostile_LDADD = $(ctl_libs)
tests_ctl_test_control_socket_CFLAGS = $(ctl_cflags)
tests_ctl_test_control_socket_LDADD = $(ctl_libs)

# The native server, with clients of all kinds.
check_LTLIBRARIES += tests/librig.la
tests_librig_la_SOURCES = \
	tests/server/asking.c \
	tests/server/asking.h \
	tests/server/books.c \
	tests/server/books.h \
	tests/server/client.c \
	tests/server/rig.c \
	tests/server/rig.h \
	tests/server/tls-client.c \
	tests/server/tls-client.h \
	tests/server/witness.c \
	tests/server/witness.h
tests_librig_la_CFLAGS = $(unit_cflags) $(GNUTLS_CFLAGS)
rig_libs = tests/librig.la src/server/libblkmqd.la src/libblkmq-front.la \
	$(harness_libs)

rig_tests = \
	tests/server/test-buffers \
	tests/server/test-buffer-pool \
	tests/server/test-crowd \
	tests/server/test-hostile \
	tests/server/test-large \
	tests/server/test-promises \
	tests/server/test-replies \
	tests/server/test-server-live \
	tests/server/test-tls \
	tests/server/test-truncated \
	tests/server/test-vanish
tests_server_test_buffers_CFLAGS = $(unit_cflags)
tests_server_test_buffers_LDADD = $(rig_libs)
tests_server_test_hostile_CFLAGS = $(unit_cflags)
tests_server_test_hostile_LDADD = $(rig_libs)
tests_server_test_buffer_pool_CFLAGS = $(unit_cflags)
tests_server_test_buffer_pool_LDADD = $(rig_libs)
tests_server_test_large_CFLAGS = $(unit_cflags)
tests_server_test_large_LDADD = $(rig_libs)
tests_server_test_promises_CFLAGS = $(unit_cflags)
tests_server_test_promises_LDADD = $(rig_libs)
tests_server_test_replies_CFLAGS = $(unit_cflags)
tests_server_test_replies_LDADD = $(rig_libs)
tests_server_test_server_live_CFLAGS = $(unit_cflags)
tests_server_test_server_live_LDADD = $(rig_libs)
tests_server_test_crowd_CFLAGS = $(unit_cflags)
tests_server_test_crowd_LDADD = $(rig_libs)
tests_server_test_truncated_CFLAGS = $(unit_cflags)
tests_server_test_truncated_LDADD = $(rig_libs)
tests_server_test_vanish_CFLAGS = $(unit_cflags)
tests_server_test_vanish_LDADD = $(rig_libs)
tests_server_test_tls_CFLAGS = $(unit_cflags) $(GNUTLS_CFLAGS)
tests_server_test_tls_LDADD = $(rig_libs) $(GNUTLS_LIBS)

check_PROGRAMS += \
	$(conformance_test) $(unit_tests) $(ctl_tests) $(rig_tests)
TESTS += $(conformance_test) $(unit_tests) $(ctl_tests) $(rig_tests)

endif

if PLUGIN

# ---- clients against the plugin, and against blkmqd ----

# What is about nbdkit itself:
#   captive-run            its ways to run
#   dump-plugin-callbacks  what it asks of a plugin
#   filter-*, filters-*    its filters
#   help-keys-agree        its --help and --dump-plugin
#   iostats-summary        its flags for debugging, -D
plugin_tests = \
	tests/shell/test-captive-run.sh \
	tests/shell/test-dump-plugin-callbacks.sh \
	tests/shell/test-filter-blocksize-policy.sh \
	tests/shell/test-filter-cow.sh \
	tests/shell/test-filter-delay.sh \
	tests/shell/test-filter-log.sh \
	tests/shell/test-filter-partition.sh \
	tests/shell/test-filters-pass-data.sh \
	tests/shell/test-help-keys-agree.sh \
	tests/shell/test-iostats-summary.sh

# The same for every server.
server_tests = \
	tests/shell/test-badblocks.sh \
	tests/shell/test-blocksize-enforced.sh \
	tests/shell/test-cache.sh \
	tests/shell/test-config-errors.sh \
	tests/shell/test-config-values.sh \
	tests/shell/test-connections-spread.sh \
	tests/shell/test-control.sh \
	tests/shell/test-exports.sh \
	tests/shell/test-exports-shared-tags.sh \
	tests/shell/test-fault-rules.sh \
	tests/shell/test-fio-verify.sh \
	tests/shell/test-info-flags.sh \
	tests/shell/test-info-map.sh \
	tests/shell/test-io-timeout-eio.sh \
	tests/shell/test-limit-knobs.sh \
	tests/shell/test-memory-limit.sh \
	tests/shell/test-memory-returns.sh \
	tests/shell/test-nbdcopy-roundtrip.sh \
	tests/shell/test-polled-queues.sh \
	tests/shell/test-qemu-img-bench.sh \
	tests/shell/test-qemu-img-convert.sh \
	tests/shell/test-qemu-img-map.sh \
	tests/shell/test-qemu-img-qcow2.sh \
	tests/shell/test-qemu-io-patterns.sh \
	tests/shell/test-readonly-refuses.sh \
	tests/shell/test-rotational-advertised.sh \
	tests/shell/test-size-max.sh \
	tests/shell/test-size-odd.sh \
	tests/shell/test-stuck-client-gone.sh \
	tests/shell/test-stuck-shutdown.sh \
	tests/shell/test-throttle.sh \
	tests/blkmqctl/test-live.sh \
	tests/man/test-control-examples.sh

dist_check_SCRIPTS += $(plugin_tests) $(server_tests)
EXTRA_DIST += tests/shell/functions.sh
TESTS += $(plugin_tests) $(server_tests)

# FILE.blkmqd: the same test, of blkmqd.
on_blkmqd = $(server_tests:.sh=.blkmqd)
$(on_blkmqd): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && { echo '#!/bin/sh' && \
	  echo 'export BLKMQ_SERVER=blkmqd' && \
	  echo 'exec "$(abs_top_srcdir)/$(@:.blkmqd=.sh)" "$$@"'; } >$@ && \
	  chmod +x $@
TESTS += $(on_blkmqd)
CLEANFILES += $(on_blkmqd)

man_tests = \
	tests/man/test-examples-run.sh \
	tests/man/test-guide-files.sh \
	tests/man/test-guide.sh
EXTRA_DIST += tests/man/guide.pl
dist_check_SCRIPTS += $(man_tests)
TESTS += $(man_tests)

blkmqctl_tests = \
	tests/blkmqctl/test-completion.sh \
	tests/blkmqctl/test-examples.sh \
	tests/blkmqctl/test-exit-status.sh \
	tests/blkmqctl/test-requests.sh \
	tests/blkmqctl/test-top.sh
dist_check_SCRIPTS += $(blkmqctl_tests)
EXTRA_DIST += tests/blkmqctl/functions.sh
TESTS += $(blkmqctl_tests)

# blkmqd: its command line, sockets, signals.
blkmqd_tests = \
	tests/server/test-access.sh \
	tests/server/test-command-line-errors.sh \
	tests/server/test-completion.sh \
	tests/server/test-config.sh \
	tests/server/test-daemon.sh \
	tests/server/test-defaults-and-log.sh \
	tests/server/test-descriptors-run-out.sh \
	tests/server/test-farewell.sh \
	tests/server/test-limits.sh \
	tests/server/test-live-under-load.sh \
	tests/server/test-man-examples.sh \
	tests/server/test-man-options.sh \
	tests/server/test-notify.sh \
	tests/server/test-privileges.sh \
	tests/server/test-reload.sh \
	tests/server/test-run.sh \
	tests/server/test-signals.sh \
	tests/server/test-socket-activation.sh \
	tests/server/test-stdio.sh \
	tests/server/test-tcp.sh \
	tests/server/test-tls-clients.sh \
	tests/server/test-tls-options.sh \
	tests/server/test-tls-refused.sh \
	tests/server/test-tls-reload.sh \
	tests/server/test-units.sh \
	tests/server/test-unix-socket.sh
dist_check_SCRIPTS += $(blkmqd_tests)
EXTRA_DIST += tests/server/client.pl tests/server/functions.sh \
	tests/server/hear.pl tests/server/knock.pl tests/server/pass.pl \
	tests/server/tls-functions.sh
TESTS += $(blkmqd_tests)

# A filter that fills a disk before the filters above it see it.
check_LTLIBRARIES += tests/nbd/nbdkit-prefill-filter.la
tests_nbd_nbdkit_prefill_filter_la_SOURCES = tests/nbd/nbdkit-prefill-filter.c
tests_nbd_nbdkit_prefill_filter_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBDKIT_CFLAGS)
tests_nbd_nbdkit_prefill_filter_la_LDFLAGS = $(AM_LDFLAGS) \
	-module -avoid-version -shared -rpath /nowhere

if HAVE_LIBNBD

nbd_cflags = $(AM_CFLAGS) $(LIBNBD_CFLAGS)
nbd_common = tests/nbd/nbd-test.c tests/nbd/nbd-test.h

nbd_tests = \
	tests/nbd/test-abrupt-disconnect \
	tests/nbd/test-many-in-flight \
	tests/nbd/test-multi-conn-flush

check_PROGRAMS += tests/nbd/nbdreq $(nbd_tests)
TESTS += $(nbd_tests)

nbd_on_blkmqd = $(nbd_tests:=.blkmqd)
$(nbd_on_blkmqd): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && { echo '#!/bin/sh' && \
	  echo 'export BLKMQ_SERVER=blkmqd' && \
	  echo 'exec "$(abs_top_builddir)/$(@:.blkmqd=)" "$$@"'; } >$@ && \
	  chmod +x $@
TESTS += $(nbd_on_blkmqd)
CLEANFILES += $(nbd_on_blkmqd)

tests_nbd_nbdreq_SOURCES = tests/nbd/nbdreq.c
tests_nbd_nbdreq_CFLAGS = $(nbd_cflags)
tests_nbd_nbdreq_LDADD = $(LIBNBD_LIBS)
tests_nbd_test_abrupt_disconnect_SOURCES = \
	tests/nbd/test-abrupt-disconnect.c $(nbd_common)
tests_nbd_test_abrupt_disconnect_CFLAGS = $(nbd_cflags)
tests_nbd_test_abrupt_disconnect_LDADD = $(LIBNBD_LIBS)
tests_nbd_test_many_in_flight_SOURCES = \
	tests/nbd/test-many-in-flight.c $(nbd_common)
tests_nbd_test_many_in_flight_CFLAGS = $(nbd_cflags)
tests_nbd_test_many_in_flight_LDADD = $(LIBNBD_LIBS)
tests_nbd_test_multi_conn_flush_SOURCES = \
	tests/nbd/test-multi-conn-flush.c $(nbd_common)
tests_nbd_test_multi_conn_flush_CFLAGS = $(nbd_cflags)
tests_nbd_test_multi_conn_flush_LDADD = $(LIBNBD_LIBS)

endif
endif
