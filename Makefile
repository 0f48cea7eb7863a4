# The two commands to start with are "make demo" and "make test". Both install what is missing, a
# container engine included, and clean up after themselves.

.PHONY: help demo test test-unit soak differential load registries bench fuzz e2e format lint image pin pins sbom release \
	clean

help: ## Show this
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

demo: ## From a gzip image to its zstd:chunked twin, step by step
	@hack/engine.sh hack/demo.sh

test: $(if $(T),,test-unit) ## All tests, and their coverage; T="-k name" passes options on to pytest
	@TEST_MODULE=$(if $(T),pytest,tests.measured) hack/engine.sh hack/test.sh $(T)

test-unit: ## The tests that need no container engine, on this machine's Python, in a minute
	@hack/venv.sh
	@.venv/bin/python -m pytest $(T) tests/unit

soak: ## 300 runs with random faults and kills; T="--runs 50 --seed 1"
	@hack/distribution3.sh
	@TEST_MODULE=tests.soak hack/engine.sh hack/test.sh $(T)

differential: ## 2,000 random layers and forged twins, and what podman does; T="--layers 200 --seed 1"
	@TEST_MODULE=tests.differential hack/engine.sh hack/test.sh $(T)

load: ## 32 instances at the same time against one registry; T="--instances 8"
	@TEST_MODULE=tests.load hack/engine.sh hack/test.sh $(T)

registries: ## Renew docs/registries.md: every command against every habit of registries
	@TEST_MODULE=tests.registries hack/engine.sh hack/test.sh build/differential/registries.md
	@mv build/differential/registries.md docs/registries.md

bench: ## Against bare skopeo and other tools, 25 minutes; T="large maxprocs", T="--rounds 1 runs"
	@hack/engine.sh bench/bench.sh $(T)
	@.venv/bin/python -m bench.tables $(if $(findstring --rounds,$(T)),,--write)

fuzz: ## Each reader of untrusted bytes, a minute each; T="-max_total_time=600"
	@hack/fuzz.sh $(T)

e2e: ## The example pipelines on a cluster: KUBECONFIG=… REPOSITORY=… TASK_IMAGE=…; SBOM=1 with SBOMs
	@hack/e2e.sh

format: ## Format Python, and fix what lint can
	@hack/venv.sh
	.venv/bin/ruff check --fix --exit-zero
	.venv/bin/ruff format

lint: ## Format, lint and types of Python, and the shell scripts
	@hack/venv.sh
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/shellcheck .ci/run bench/*.sh hack/*.sh hack/*/*.sh

image: ## Build the task image, localhost/recompress:dev; SOURCE=https://… for its labels
	@hack/engine.sh hack/images.sh task

pin: ## Name a released task image in task.yaml: IMAGE=registry/repository@sha256:…
	@hack/pin.sh "$(IMAGE)"

sbom: ## What is in the task image, and its known vulnerabilities
	@hack/engine.sh hack/sbom.sh

pins: ## Renew the versions in requirements-*.txt, all of them
	@hack/pins.sh

release: ## Make and check all files of a release, publish nothing: RELEASE_IMAGE=registry/repository
	@hack/engine.sh hack/release.sh

clean: ## Remove everything that was built
	@$(if $(shell command -v docker),hack/engine.sh) hack/clean.sh
