# Thin: every target calls a preset of CMakePresets.json. `make demo` and `make test` need nothing but
# make; they install what is missing first (cmake/install_packages.sh).
JOBS ?= $(shell nproc)
evidence = $(wildcard data/evidence/quick*.h5)
FUZZ_SECONDS ?= 60
FUZZ_FILES ?= 10000
configure_and_build = cmake --preset $(1) && cmake --build --preset $(1) -j $(JOBS)

.PHONY: demo test sanitize hopper fuzz portable bench format clean packages

demo: packages
	$(call configure_and_build,cpu) --target groundstate
	mkdir -p reports/demo
	build/cpu/groundstate run @data/quick.cases -o reports/demo/results.jsonl
	$(if $(evidence),build/cpu/groundstate judge $(evidence))
	build/cpu/groundstate report reports/demo/results.jsonl $(evidence) -o reports/demo
	@echo "Open reports/demo/index.html; the results are in reports/demo/results.jsonl, one JSON object a line."

test: packages
	$(call configure_and_build,cpu)
	ctest --preset cpu

sanitize hopper: packages
	$(call configure_and_build,$@)
	ctest --preset $@

# Each target of tests/fuzz/ for FUZZ_SECONDS, then FUZZ_FILES mutated files through `compare`. Needs
# clang, libFuzzer and libomp, which are installed too.
fuzz:
	@cmake/install_packages.sh fuzz
	$(call configure_and_build,cpu) --target groundstate
	$(call configure_and_build,fuzz)
	tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)
	GROUNDSTATE=build/cpu/groundstate /usr/bin/python3 -B tests/acceptance/mutated_files.py $(FUZZ_FILES)

portable: packages
	$(call configure_and_build,portable)
	cmake/check_portable.sh build/portable/groundstate

# The README's table comes of the record: tests/acceptance/readme.py --update-timings.
bench: packages
	$(call configure_and_build,cpu) --target groundstate
	mkdir -p reports/bench
	build/cpu/groundstate bench @data/bench.cases --path recurrent --path chunked --path chunked:single \
	  -o reports/bench/timings.jsonl
	build/cpu/groundstate report reports/bench/timings.jsonl -o reports/bench

format:
	git ls-files -co --exclude-standard '*.hpp' '*.cpp' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	rm -rf build reports/demo reports/bench

packages:
	@cmake/install_packages.sh
