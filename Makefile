# Thin: every target calls a preset of CMakePresets.json. `make demo` and `make test` need nothing but
# make; they install what is missing first (cmake/install_packages.sh).
JOBS ?= $(shell nproc)
evidence = $(wildcard data/evidence/quick*.h5)
timings = $(wildcard data/timings_*.jsonl)
calibration = $(wildcard data/calibration/*.jsonl)
FUZZ_SECONDS ?= 60
FUZZ_FILES ?= 10000
configure_and_build = cmake --preset $(1) && cmake --build --preset $(1) -j $(JOBS)

.PHONY: demo test sanitize sanitize-gpu evidence-gpu hopper fuzz portable bench bench-gpu calibrate calibrate-gpu format clean packages

demo: packages
	$(call configure_and_build,cpu) --target groundstate
	mkdir -p reports/demo
	build/cpu/groundstate run @data/quick.cases -o reports/demo/results.jsonl
	$(if $(evidence),build/cpu/groundstate judge $(evidence))
	build/cpu/groundstate report reports/demo/results.jsonl $(evidence) $(timings) $(calibration) \
	  -o reports/demo
	@echo "Open reports/demo/index.html; the results are in reports/demo/results.jsonl, one JSON object a line."

test: packages
	$(call configure_and_build,cpu)
	ctest --preset cpu

sanitize hopper: packages
	$(call configure_and_build,$@)
	ctest --preset $@

# With the build that is there, on a machine with a GPU.
sanitize-gpu:
	tests/acceptance/sanitize_gpu.sh $(GROUNDSTATE) $(JOBS)

# On a machine with a GPU, with the build that is there: what CI judges of the kernels. Of long lists little is kept.
record = $(GROUNDSTATE) record @data/$(1).cases --jobs $(JOBS) -o data/evidence/$(1).h5
evidence-gpu:
	$(call record,quick)
	$(call record,mamba3_step) --no-pictures --elements 32
	$(call record,selective_state_update) --no-pictures --elements 256
	$(call record,simple_gla) --no-pictures --elements 16
	$(call record,simple_gla_backward) --no-pictures --elements 16

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

# On a machine with an H100, from the build that is there. The kernels of other libraries are timed and judged in the
# same run; what is not installed for Python says so and is left out. data/timings_*.jsonl are the records that the
# README shows.
GROUNDSTATE ?= build/cpu/groundstate
bench-gpu:
	mkdir -p reports/bench-gpu
	rm -f reports/bench-gpu/*.jsonl
	$(GROUNDSTATE) bench @data/bench_gpu_forward.cases --path gpu.auto:tensorcore-bf16 --max-memory 16 \
	  -o reports/bench-gpu/forward.jsonl
	$(GROUNDSTATE) bench @data/bench_gpu_backward.cases --path gpu.fused:tensorcore-bf16 \
	  --path 'gpu.fused[dg_chunks=4]:tensorcore-bf16' \
	  --path 'gpu.chunked[dh_dtype=operand]:tensorcore-bf16' --path gpu.chunked:tensorcore-bf16 \
	  -o reports/bench-gpu/backward.jsonl
	$(GROUNDSTATE) bench @data/bench_gpu_step.cases --path gpu.step:single \
	  --path gpu.step:single-bf16-state -o reports/bench-gpu/step.jsonl
	$(GROUNDSTATE) bench @data/selective_state_update_bench.cases --path gpu.step:single \
	  -o reports/bench-gpu/selective_state_update.jsonl
	$(GROUNDSTATE) bench @data/mamba3_step_bench.cases --path gpu.step:single --path gpu.separate:single \
	  --path gpu.gathered:single -o reports/bench-gpu/mamba3_step.jsonl
	-GROUNDSTATE=$(GROUNDSTATE) python3 harness/python/fla_rows.py @data/bench_gpu_forward.cases \
	  @data/bench_gpu_backward.cases --no-guard -o reports/bench-gpu/fla.jsonl
	-GROUNDSTATE=$(GROUNDSTATE) python3 harness/python/mamba_rows.py @data/selective_state_update_bench.cases \
	  -o reports/bench-gpu/mamba.jsonl
	grep -h '"median"' reports/bench-gpu/*.jsonl > reports/bench-gpu/timings.jsonl
	$(GROUNDSTATE) report reports/bench-gpu/timings.jsonl -o reports/bench-gpu

# What honest implementations reach and what is seen of wrong ones: data/calibration/emulations.jsonl, and the tables
# of harness/judge/README.md. What an interrupted run has measured is in reports/calibration, and is not measured again.
# CALIBRATE=--share=0.03 takes that part of the cases, and leaves record and page alone. On a machine with an H100
# calibrate-gpu measures the kernels, with the build that is there.
CALIBRATE ?=
calibrate: packages
	$(call configure_and_build,cpu) --target groundstate
	build/cpu/groundstate calibrate @data/quick.cases -o reports/calibration --jobs $(JOBS) $(CALIBRATE)
ifeq ($(CALIBRATE),)
	cp reports/calibration/calibration.jsonl data/calibration/emulations.jsonl
	build/cpu/groundstate calibrate page data/calibration/*.jsonl
endif

calibrate-gpu:
	$(GROUNDSTATE) calibrate @data/quick.cases --kernels -o reports/calibration-gpu --jobs $(JOBS)
	cp reports/calibration-gpu/calibration.jsonl data/calibration/h100.jsonl
	$(GROUNDSTATE) calibrate page data/calibration/*.jsonl

format:
	git ls-files -co --exclude-standard '*.hpp' '*.cpp' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	rm -rf build reports/demo reports/bench reports/calibration

packages:
	@cmake/install_packages.sh
