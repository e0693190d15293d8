# SPDX-License-Identifier: Apache-2.0
# The front door: two commands set everything up on a fresh machine.
#     make demo    make test
# The work is done by CMake (CMakePresets.json); each target first makes sure of its packages.
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CTEST = ctest --output-on-failure -j $(JOBS)
# The thread sanitizer of gcc 12 needs a layout of memory that kernels with many random bits
# do not give; setarch -R asks for one without.
CALM := $(shell [ "$$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && \
	setarch -R true 2>/dev/null && echo setarch -R)

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help build demo test test-dev clang asan tsan fuzz oracle check-static bench install clean

help:
	@echo 'make               build the library, the tool, plugins and examples (build/release)'
	@echo 'make demo          train a real model on every core, tracked by W&B offline'
	@echo 'make test          the whole suite: tests, a second compiler, the sanitizers'
	@echo 'make install       install to PREFIX ($(PREFIX)), under DESTDIR if set'
	@echo 'make bench         our speed beside that of torch, MPI, wandb and others; build/bench.json'
	@echo 'make asan tsan     unit, rank and PyTorch tests under one of the sanitizers'
	@echo 'make fuzz          look for inputs that break the W&B client, FUZZ_SECONDS=300 for each target'
	@echo 'make clang         build everything with clang, warnings as errors'
	@echo 'make oracle        the Python environment with the stock packages that judge the tests'
	@echo 'make check-static  clang-tidy and clang-format'
	@echo 'make clean         remove the builds; build/oracle and build/demo stay'
	@echo
	@echo 'Each target installs the Debian packages it misses, if it may, and says so.'

build:
	@scripts/packages build
	cmake --preset release
	cmake --build --preset release

demo:
	@scripts/packages build demo
	cmake --preset release
	cmake --build --preset release
	@scripts/demo

test:
	@scripts/packages build demo test
	@scripts/oracle
	@$(MAKE) --no-print-directory clang test-dev asan tsan
	@echo 'make test: all of it passed: tests (build/dev), clang, ASan + UBSan, TSan'

test-dev:
	cmake --preset dev
	cmake --build --preset dev
	$(CTEST) --test-dir build/dev

clang:
	@scripts/packages build test
	@if command -v clang >/dev/null; then \
	    cmake --preset clang && cmake --build --preset clang; \
	else echo 'make clang: skipped: there is no clang'; test "$$CI" != true; fi

# What runs under them; docs/decisions/torch-sanitizers.md says why PyTorch is not in the second.
SANITIZED_asan = ^(unit|rank|torch)\.|^oracle\.(torch_c|torch_c_pitfalls)$$
SANITIZED_tsan = ^(unit|rank)\.

asan tsan:
	@scripts/packages build test
	cmake --preset $@
	cmake --build --preset $@
	$(CALM) $(CTEST) --test-dir build/$@ -R '$(SANITIZED_$@)' \
	    -E 'weights_are_there_once|reuses_its_memory' # a sanitizer keeps freed memory

# New inputs are kept in build/fuzz/corpus; one that breaks something in build/fuzz/found.
fuzz:
	@scripts/packages build test
	cmake --preset fuzz
	cmake --build --preset fuzz --target fuzz-targets
	@fuzz/run

oracle:
	@scripts/packages test
	@scripts/oracle

check-static:
	@scripts/packages build static
	@scripts/check-static

bench:
	@scripts/packages build bench
	@scripts/oracle
	@bench/environment
	cmake --preset release
	cmake --build --preset release
	@bench/run

install: build
	cmake --install build/release --prefix '$(PREFIX)'

clean:
	rm -rf build/dev build/release build/clang build/asan build/tsan build/fuzz
