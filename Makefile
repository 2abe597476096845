# A thin front: meson and ninja do the work.
.PHONY: all demo test check format clean

all: setup
	@[ -d build-gcc ] || meson setup build-gcc
	@ninja -C build-gcc

# Shows the HTTP server on a veth, and the kernel beside it (root; needs no hugepages).
demo: setup
	@devtools/demo

# Installs what is missing, builds with each compiler and the sanitizers, runs all tests.
test: setup
	@devtools/run-tests

# The edit-test loop: one build, unit tests.
check: setup
	@devtools/run-tests quick

.PHONY: setup
setup:
	@devtools/setup

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build-*
