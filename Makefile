# make demo: a moving box, from simulation to report; make test: all tests; make fast: those of a minute; make test-processors: all
# tests as on other processors; make check: format, lint, types; make docs: the docs site. Each sets up .venv with what it needs.
PYTHON ?= python3
SCORETOMO = .venv/bin/scoretomo
PYTHONS = src tests benchmarks docs/conf.py docs/generated docs/draw_report.py

# Two processes share the tests, file by file, as the tests of a file share their runs.
SHARED = --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What an x86 processor is taken for: libraries use these instructions and no newer ones.
AVX2 = ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell
PLAIN = ATEN_CPU_CAPABILITY=default
SSE = ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem

.PHONY: demo test fast test-processors check docs clean

# The program alone, and the program with all that developers need.
.venv/program: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("scoretomo needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": call make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed: .venv/program
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/program
	$(SCORETOMO) simulate box --images 100 --size 24 --seed 0 --output demo/box
	$(SCORETOMO) run demo/box/images.mrcs --output demo/run --images 0-39 --steps 24
	$(SCORETOMO) evaluate demo/run --truth demo/box/truth
	@echo "Open demo/run/report.html in a browser."

test: .venv/installed
	.venv/bin/python -m pytest $(SHARED) -p no:randomly

fast: .venv/installed
	.venv/bin/python -m pytest $(SHARED) -p no:randomly -m "not slow"

# The whole suite four times, each time in another order: a line for each, and all that pytest says where tests fail.
test-processors: .venv/installed
	@log=$$(mktemp); seed=0; failed=0; \
	for processor in "OMP_NUM_THREADS=2" "OMP_NUM_THREADS=1 $(AVX2)" "OMP_NUM_THREADS=2 $(PLAIN)" "OMP_NUM_THREADS=1 $(SSE)"; do \
		seed=$$((seed + 1)); \
		env OMP_WAIT_POLICY=passive $$processor .venv/bin/python -m pytest $(TESTS) $(SHARED) --randomly-seed $$seed > $$log 2>&1 \
			|| { failed=1; cat $$log; }; \
		echo "$$processor, order $$seed: $$(tail -n 1 $$log)"; \
	done; \
	rm $$log; exit $$failed

check: .venv/installed
	.venv/bin/ruff format --check $(PYTHONS)
	.venv/bin/ruff check $(PYTHONS)
	.venv/bin/mypy

docs: .venv/installed
	rm -rf site
	.venv/bin/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --conf-dir docs . site
	@echo "Open site/index.html in a browser."

clean:
	rm -rf .venv demo site docs/api
