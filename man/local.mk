# SPDX-License-Identifier: BSD-3-Clause
# Manual pages are written in POD.

man_pods = \
	man/blkmq.pod \
	man/blkmq-control.pod \
	man/blkmq-driver.pod \
	man/blkmq-examples.pod \
	man/blkmq-layers.pod \
	man/blkmq-lifetime.pod \
	man/blkmqctl.pod \
	man/blkmqd.conf.pod \
	man/blkmqd.pod \
	man/libblkmq.pod \
	man/nbdkit-blkmq-plugin.pod
EXTRA_DIST += $(man_pods)

if HAVE_POD2MAN

man_MANS += \
	man/blkmq.7 \
	man/blkmq-control.7 \
	man/blkmq-driver.3 \
	man/blkmq-examples.7 \
	man/blkmq-layers.7 \
	man/blkmq-lifetime.7 \
	man/blkmqctl.1 \
	man/blkmqd.8 \
	man/blkmqd.conf.5 \
	man/libblkmq.3
if PLUGIN
man_MANS += man/nbdkit-blkmq-plugin.1
endif
CLEANFILES += $(man_MANS)

# $(1): section
make_man = $(AM_V_GEN)$(MKDIR_P) man && \
	$(POD2MAN) --utf8 --errors=die --section=$(1) \
	  --name=`basename $@ .$(1)` --release='blkmq $(VERSION)' \
	  --center='blkmq' $< > $@.tmp && mv $@.tmp $@

man/%.1: $(srcdir)/man/%.pod
	$(call make_man,1)
man/%.3: $(srcdir)/man/%.pod
	$(call make_man,3)
man/%.5: $(srcdir)/man/%.pod
	$(call make_man,5)
man/%.7: $(srcdir)/man/%.pod
	$(call make_man,7)
man/%.8: $(srcdir)/man/%.pod
	$(call make_man,8)

endif

# What blkmq-examples(7) shows, beside blkmqd.conf.
dist_examples_SCRIPTS = \
	doc/examples/certificates.sh \
	doc/examples/ci-job.sh \
	doc/examples/ext4-power-cut.sh \
	doc/examples/sqlite-faults.sh \
	doc/examples/sqlite-power-cut.sh \
	doc/examples/torn-images.sh
dist_examples_DATA += \
	doc/examples/attach-scratch.service \
	doc/examples/fstab \
	doc/examples/kernel-disk.sh \
	doc/examples/lab-service.conf \
	doc/examples/lab-socket.conf \
	doc/examples/lab.conf \
	doc/examples/libvirt-disk-tls.xml \
	doc/examples/libvirt-disk.xml \
	doc/examples/libvirt-socket.conf \
	doc/examples/nbd0-blkmqd.conf \
	doc/examples/nbdtab \
	doc/examples/scratch.conf
