# make run | test | unit | system | browser | check | autobahn | load | soak | dash-versions | bench | docs: each sets itself up, in .venv or in VENV=...
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# An existing .venv is never used for another PYTHON: make stops with a message. Else the results of one Python could pass
# for those of another.
ifneq ($(filter command line environment,$(origin PYTHON)),)
ifneq ($(wildcard $(BIN)/python),)
VERSION = -c 'import sys; print("Python", sys.version.split()[0])'
WANTED := $(shell $(PYTHON) $(VERSION))
THERE  := $(shell $(BIN)/python $(VERSION))
ifneq ($(WANTED),$(THERE))
ifneq ($(MAKECMDGOALS),clean)
$(error $(VENV) is $(THERE), and PYTHON=$(PYTHON) is $(or $(WANTED),not there). Another one beside it: \
  make $(MAKECMDGOALS) PYTHON=$(PYTHON) VENV=.venv-other; or "make clean" first)
endif
endif
endif
endif

.PHONY: docs docs-serve run test unit system browser check fuzz autobahn load soak dash-versions bench bench-quick lock dist clean

# The demo, on Flask; BACKEND=fastapi: on FastAPI. What ends is started again, so that one of its programs can be restarted.
run: $(VENV)/.demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" BACKEND="$(BACKEND)" sh -c '$(UNTIL_HANGUP)'

# A terminal that is closed sends SIGHUP to all, which would end honcho at once and leave its programs running: it gets SIGTERM
# instead. The first wait ends with the signal, the second one when honcho has stopped its programs.
UNTIL_HANGUP = trap "" HUP; honcho start -f Procfile.demo & trap "kill $$!" HUP TERM; trap : INT; wait $$!; wait $$!

# test is all of unit (in-process, under a minute), system (real programs) and browser (a real Chromium).
test unit system browser: $(VENV)/.dev
	$(BIN)/python -m tests $@ $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks

# Hostile clients, 20 s with and 20 s without hand-off; ARGS="--connections 200000" for longer, ARGS="--seed S --first N
# --connections 1" to repeat one of them.
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz $(ARGS)
	$(BIN)/python -m tests.fuzz --handoff $(ARGS)
	$(BIN)/python -m tests.fuzz --several $(ARGS)
	$(BIN)/python -m tests.fuzz --handoff --several $(ARGS)

# Autobahn's WebSocket cases with and without the gateway, about 4 minutes. Needs CPython 2.7 (PYTHON2=... says where).
autobahn: $(VENV)/.dev
	@PYTHON2="$(PYTHON2)" $(BIN)/python -m tests.autobahn $(ARGS)

# Ten thousand sockets, slow clients, restarts, hostile input, what one client can hold: the promised figures, about 25
# minutes. ARGS="slow unread" runs some, ARGS="stall:chunks hold:TLS" some rows of the two tables.
load: $(VENV)/.dev
	@$(BIN)/python -m tests.load $(ARGS)

# Ten minutes of faults of every kind, at once. ARGS="--minutes 1 --sockets 200" is a short one.
soak: $(VENV)/.dev
	@$(BIN)/python -m tests.soak $(ARGS)

# 15 to 20 minutes; writes benchmarks/results.json and docs/performance.md.
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --write $(ARGS)

# Two workloads in under 90 seconds; only prints.
bench-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks --quick $(ARGS)

# The site, into build/site; a link that leads nowhere is an error.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs -d build/doctrees . build/site $(ARGS)
	@echo "build/site/index.html"

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(or $(PORT),8080)

# Refresh constraints.txt, the versions every machine installs.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --all-extras --no-emit-package dash-ws-proxy \
	  --custom-compile-command "make lock" pyproject.toml -o constraints.txt

# The wheel and the sdist of the last commit, in dist/. From the archive: what lies in the folder beside it is not in them.
# The time is the commit's, so that each build of a commit is the same.
dist: $(VENV)/.dev
	rm -rf build/archive && mkdir -p build/archive
	git archive HEAD | tar -x -C build/archive
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/uv build --quiet --clear --out-dir dist build/archive

clean:
	rm -rf $(VENV) .autobahn build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "dash-ws-proxy needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.docs

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.bench: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.install
	@touch $@
