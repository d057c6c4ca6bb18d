# make course   everything: .venv, notebooks, site, three graded samples
# make test     the whole test suite
# make lab      JupyterLab on your own copies of the exercises, in work/
# make help     the other targets

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/installed
NOTEBOOKS = exercises/release/.made
SITE = _build/html/.made

MODEL = $(VENV)/model-fetched
CODE = $(wildcard solutions/*.py autograder/*.py autograder/*/*.py capstone/*.py)
PAGES = _config.yml _toc.yml $(wildcard benchmarks/*.json) $(shell find book -type f -not -path '*/__pycache__/*')
SAMPLES = examples/right.ipynb examples/unsolved.ipynb \
	examples/the_article/06_hidden_queries.ipynb

.PHONY: course install notebooks site samples work lab test told class llm wrong bench bench-llm bench-masks attacks check \
	mutants clean help
.DELETE_ON_ERROR:

course: install notebooks site samples
	@echo
	@echo "The site: $(CURDIR)/_build/html/index.html"
	@echo "Your own copies of the exercises: make lab"

install: $(INSTALLED)
notebooks: $(NOTEBOOKS)
site: $(SITE)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  "Python 3.11 to 3.13 is needed, not %d.%d: make PYTHON=python3.12" % v[:2])'
	@echo "Installing into $(VENV): a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on \
	  -c constraints.txt -e '.[course]'
	@touch $@

# Chapter 14's language model: 93 MB, kept outside of this folder
$(MODEL): $(INSTALLED) capstone/fetch.py
	$(BIN)/python -m capstone fetch
	@touch $@

$(NOTEBOOKS): $(INSTALLED) $(CODE) $(wildcard exercises/*.py examples/*.py examples/*/*.py)
	$(BIN)/python exercises/build.py
	$(BIN)/python examples/build.py
	@touch $@

# A build that failed must not look finished the next time.
$(SITE): $(NOTEBOOKS) $(MODEL) $(PAGES) $(CODE)
	$(BIN)/jupyter-book build -W -n --keep-going . \
	  || { rm -rf _build/html _build/.doctrees; exit 1; }
	@touch $@

samples: $(NOTEBOOKS)
	@$(BIN)/autograder grade $(SAMPLES)

work: $(NOTEBOOKS)
	@$(BIN)/autograder work work

lab: work
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) work

test: $(NOTEBOOKS) $(SITE)
	$(BIN)/python -m pytest -n auto --dist loadgroup

mutants: $(INSTALLED)
	$(BIN)/python tests/mutants.py

told: $(INSTALLED)
	$(BIN)/python -m pytest tests -q -rP -k in_no_list

class: $(NOTEBOOKS)
	STUDENTS=1000 KILLS=20 $(BIN)/python -m pytest tests/test_batch.py -v

llm: $(MODEL)
	LLM=all $(BIN)/python -m pytest -v tests/test_real_model.py

wrong: $(MODEL)
	$(BIN)/python -m capstone wrong --record

bench-llm: $(MODEL)
	$(BIN)/python benchmarks/real_model.py --record benchmarks/real_model.json

bench-masks: $(INSTALLED)
	$(BIN)/python benchmarks/masks.py --record benchmarks/masks.json

bench: $(NOTEBOOKS)
	$(BIN)/python benchmarks/grading.py --record benchmarks/grading.json

attacks: $(INSTALLED)
	$(BIN)/python tests/attacks/table.py

$(VENV)/dev-installed: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[course,dev]'
	@touch $@

check: $(VENV)/dev-installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

clean:
	rm -rf _build exercises/release/.made

help:
	@echo "make course    everything: $(VENV), notebooks, site, three graded samples"
	@echo "make lab       JupyterLab on your own copies of the exercises, in work/"
	@echo "make work      make or update those copies; no answer is lost"
	@echo "make site      the website, in _build/html"
	@echo "make notebooks the exercise notebooks, from exercises/*.py"
	@echo "make test      the whole test suite"
	@echo "make mutants   every small change of every solution, handed in as an answer"
	@echo "make told      what learners are told of mistakes that are in no list"
	@echo "make class     a class of 1,000 graded, killed 20 times on the way (15 minutes)"
	@echo "make llm       all tests of the real language model (a few minutes)"
	@echo "make wrong     what each wrong function does to it, recorded for chapter 14"
	@echo "make bench-llm how fast it is, beside Transformers (15 minutes)"
	@echo "make bench-masks  what each way to say a mask costs, for chapter 15 (minutes)"
	@echo "make bench     how fast it grades, beside nbgrader alone (an hour)"
	@echo "make attacks   the table of attacks in the book, from the tests' data"
	@echo "make check     ruff and pyright"
	@echo "make clean     remove the built site"
