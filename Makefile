# The front door. `make help` lists the targets; ENV names an inventory (inventories/ENV).
SHELL := /bin/sh
ENV ?= local
ANSIBLE := scripts/with-engine scripts/ansible
PY := .venv/bin/python
ZADS := scripts/with-engine .venv/bin/zads
limits = $(if $(LIMIT),--limit '$(LIMIT)') $(if $(TAGS),--tags '$(TAGS)')
, := ,
# Options for ansible-playbook of your own: make deploy ENV=prod ARGS=--ask-vault-pass
ARGS ?=
# Why: shown to whoever finds a site locked by this operation.
export ZADS_REASON := $(REASON)

.DEFAULT_GOAL := help
.PHONY: help prepare venv images lab deploy check logs verify stop start restart grow rebalance replace remove rotate upgrade protocol rollback versions unlock night audit archive warm users retry rehearse demo test lint \
        unit streams system runbook bench drill docs down clean backup restore

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ENV=$(ENV) is one of: $(notdir $(patsubst %/,%,$(dir $(wildcard inventories/*/hosts.yml))))"

prepare: ## Make this computer a control machine: packages, container engine, virtual environment
	@scripts/prepare

venv:
	@scripts/prepare --venv

images: prepare ## Build the images and the Kafka distribution; what exists with the same inputs is kept
	@scripts/with-engine $(PY) scripts/images.py

lab: prepare ## The hosts of ENV as containers, without deploying to them
	@$(ZADS) lab up $(ENV)

deploy: images ## Bring every host of ENV to what its inventory says [LIMIT= TAGS= ARGS=]
	@$(ANSIBLE) $(ENV) deploy $(limits) $(ARGS)

check: venv ## Show what differs from the inventory, changing nothing; fails if anything does
	@scripts/with-engine $(PY) scripts/check.py $(ENV) $(limits) $(ARGS)

# A pattern may hold any character, so no shell sees it. A variable GREP of the environment is not meant for us.
logs: export ZADS_LOGS_PATTERN = $(if $(filter command,$(origin GREP)),$(value GREP))
logs: venv ## What our units wrote on all hosts, in order of time, without secrets [HOST= UNIT= SINCE=1h UNTIL= GREP= LINES=200; COLLECTED=1: those that the collector has]
	@scripts/with-engine $(PY) scripts/logs.py $(ENV) $(if $(HOST),--host '$(HOST)') $(if $(UNIT),--unit '$(UNIT)') \
	    $(if $(SINCE),--since '$(SINCE)') $(if $(UNTIL),--until '$(UNTIL)') $(if $(LINES),--lines '$(LINES)') $(if $(COLLECTED),--collected)

verify: venv ## Ask the running system of ENV whether it keeps its promises
	@$(ANSIBLE) $(ENV) verify $(ARGS)

stop: venv ## Stop a site in order: make stop ENV=prod SITE=public
	@$(ANSIBLE) $(ENV) stop -e site_name=$(or $(SITE),$(error SITE=origin or SITE=public says which)) $(ARGS)

start: venv ## Start a site in order: make start ENV=prod SITE=public
	@$(ANSIBLE) $(ENV) start -e site_name=$(or $(SITE),$(error SITE=origin or SITE=public says which)) $(ARGS)

restart: venv ## Restart brokers and ensemble one at a time, each when no partition loses its minimum of replicas [LIMIT=HOST]
	@$(ANSIBLE) $(ENV) restart $(limits) $(ARGS)

grow: venv ## After a broker's volume was enlarged: grow its file system to that size, while it runs [LIMIT=HOST ARGS=--check]
	@$(ANSIBLE) $(ENV) grow $(limits) $(ARGS)

machines = scripts/with-engine $(PY) scripts/machines.py $(ENV)

rebalance: venv ## Spread a site's replicas evenly over its brokers: SITE=public [DRAIN=HOSTS empties these; CANCEL=1 ends copies; YES=1]
	@$(if $(CANCEL),$(ANSIBLE) $(ENV) rebalance -e rebalance_cancel=true,$(machines) rebalance $(if $(YES),--yes) $(if $(DRAIN),-e leaving='$(DRAIN)')) \
	    -e site_name=$(or $(SITE),$(error SITE=origin or SITE=public says which)) $(ARGS)

replace: images ## Give a broker or member a new machine or disk: HOST=public-3; it gets its data from the others [YES=1]
	@$(machines) replace $(if $(YES),--yes) -e replaced='$(or $(HOST),$(error HOST= is a host of a broker or of a member))' $(ARGS)

remove: venv ## Move all replicas off a broker, and take it or a member out of the site for good: HOST=public-4 [YES=1]
	@$(machines) remove $(if $(YES),--yes) -e leaving='$(or $(HOST),$(error HOST= is a host of a broker or of a member))' $(ARGS)

# USER is also a variable of every shell: only one on the command line is meant for us.
rotated = $(if $(SITE),-e site_name='$(SITE)') $(if $(BACK),-e authority_back=true) \
    $(if $(filter command,$(origin USER)),-e rotate_users='$(USER)')
whats = certificates authority passwords

rotate: images ## Change secrets without a pause: WHAT=certificates, authority (the next of 3 steps) or passwords [SITE= USER= BACK=1 YES=1]
	@$(machines) rotate_$(or $(filter $(whats),$(WHAT)),$(error WHAT= is one of $(whats))) $(if $(YES),--yes) $(rotated) $(ARGS)

upgrade: venv ## Bring brokers and ensemble to another version of Kafka, or back: KAFKA=3.9.1 [SITE=public LIMIT=HOSTS YES=1]
	@scripts/with-engine $(PY) scripts/images.py kafka $(if $(wildcard images/kafka/jars/$(KAFKA).sha256),kafka-$(KAFKA))
	@$(machines) upgrade $(if $(YES),--yes) -e site_name=$(or $(SITE),origin$(,)public) $(if $(LIMIT),-e upgrade_hosts='$(LIMIT)') \
	    -e upgrade_kafka=$(or $(KAFKA),$(error KAFKA= says which version, such as 3.9.1)) $(ARGS)

protocol: venv ## End an upgrade: brokers speak the newest protocol of their version; no way back [SITE=public YES=1]
	@$(machines) protocol $(if $(YES),--yes) -e site_name=$(or $(SITE),origin$(,)public) $(ARGS)

rollback: venv ## Put a program back to its image before: PROGRAM=producer, mirrormaker, night-keeper, filter-worker [YES=1]
	@$(machines) rollback $(if $(YES),--yes) -e rollback_program=$(or $(PROGRAM),$(error PROGRAM= says which, such as producer)) $(ARGS)

versions: venv ## Which versions of Kafka, Java and the programs run where, and what differs
	@$(ANSIBLE) $(ENV) versions $(ARGS)

unlock: venv ## Break the locks of the sites on purpose: make unlock ENV=prod REASON='the control machine is gone'
	@$(ANSIBLE) $(ENV) unlock $(if $(REASON),,$(error REASON= says why)) $(ARGS)

night: venv ## Create a night's topics and grants: make night ENV=prod NIGHT=20181129
	@$(ANSIBLE) $(ENV) night -e night=$(or $(NIGHT),$(error NIGHT=YYYYMMDD says which)) $(ARGS)

audit: venv ## Audit a night now, or those that are due, and fetch the pages of all audits [NIGHT=20181129]
	@$(ANSIBLE) $(ENV) audit $(if $(NIGHT),-e night='$(NIGHT)') $(ARGS)

archive: venv ## Archive a night now, which the service does by itself: NIGHT=20181129 [INCOMPLETE=1: although alerts have expired]
	@$(ANSIBLE) $(ENV) archive -e night=$(or $(NIGHT),$(error NIGHT=YYYYMMDD says which)) $(if $(INCOMPLETE),-e archive_incomplete=true) $(ARGS)

users: venv ## Show what users.yml changes for people and what each loses, ask, then apply it [YES=1 does not ask]
	@scripts/with-engine $(PY) scripts/users.py $(ENV) $(if $(YES),--yes) $(ARGS)

warm: venv ## Send canaries until fresh processes are quick [SECONDS=n]; make night does it too
	@$(ZADS) warm --env $(ENV) $(if $(SECONDS),--seconds $(SECONDS))

retry: venv ## Deliver again, once, what the origin refused for a schema that it knows now
	@$(ZADS) schema retry --env $(ENV) --deliver $(ARGS)

backup: venv ## Write all that a deployment needs to come back, encrypted for backup_recipients [TO=DIR KEEP=30 RECIPIENTS=FILE]
	@$(ANSIBLE) $(ENV) backup $(if $(TO),-e backup_to='$(abspath $(TO))') $(if $(KEEP),-e backup_keep=$(KEEP)) \
	    $(if $(RECIPIENTS),-e backup_recipients_file='$(abspath $(RECIPIENTS))') $(ARGS)

restore: images ## Bring lost secrets and new, empty sites back: FROM=BACKUP KEY=PRIVATE_KEY [SITE= ENSEMBLE= YES=1]
	@scripts/with-engine $(PY) scripts/restore.py $(ENV) $(if $(YES),--yes) --from '$(or $(FROM),$(error FROM= is a backup))' \
	    --key '$(or $(KEY),$(error KEY= is a file with the private key of a recipient))' $(if $(SITE),--site $(SITE)) \
	    $(if $(ENSEMBLE),--ensemble $(ENSEMBLE)) $(ARGS)

rehearse: images ## Realise ENV in containers, deploy, stream, verify, deploy again, take down
	@scripts/with-engine $(PY) scripts/rehearse.py $(ENV)

demo: images ## A night from the telescope to its subscribers [ALERTS=DIR or .tar.gz] [SPEED=n]
	@$(ZADS) lab up local
	@$(ANSIBLE) local deploy $(ARGS)
	@$(ZADS) demo --env local $(if $(ALERTS),--alerts '$(ALERTS)') $(if $(SPEED),--speed $(SPEED))

test: prepare ## Everything: lint, unit, streams, then the whole system in containers
	@$(MAKE) --no-print-directory -j2 --output-sync=line streams lint unit
	@$(MAKE) --no-print-directory system

lint: venv ## Formatting, types, roles and playbooks
	.venv/bin/ruff format --check --quiet .
	.venv/bin/ruff check --quiet .
	.venv/bin/mypy
	.venv/bin/yamllint --strict .
	ANSIBLE_CONFIG=ansible/ansible.cfg ANSIBLE_LINT_SKIP_SCHEMA_UPDATE=1 PATH="$(CURDIR)/.venv/bin:$$PATH" \
	    .venv/bin/ansible-lint --offline -q ansible roles inventories

unit: venv ## The package alone
	.venv/bin/pytest -q tests/unit

streams: images ## Producer, worker and modules against a real broker
	scripts/with-engine .venv/bin/pytest -q --numprocesses 2 --dist loadfile tests/streams

system: images ## The whole of inventories/local in containers: roles, clients, faults, runbooks
	scripts/with-engine .venv/bin/pytest -q tests/system

# Rows without a broker need no images.
bench_needs := $(if $(filter-out packets scaling floor,$(subst $(,), ,$(or $(ROWS),all))),images,venv)

bench: $(bench_needs) ## Ours beside peers, as ratios: an hour; ROWS=packets,scaling minutes [ROWS= ALERTS=DIR]
	@scripts/with-engine $(PY) -m bench $(ALERTS) $(if $(ROWS),--rows '$(ROWS)') $(ARGS)

drill: images ## Faults, rolling operations, clients of other languages; writes docs/drills.md [NAME=part of a test's name]
	ZADS_DRILLS=docs/drills.md scripts/with-engine .venv/bin/pytest -q tests/system/test_4_faults.py \
	    $(sort $(wildcard tests/streams/drill_*.py tests/system/drill_*.py)) $(if $(NAME),-k '$(NAME)')

runbook: venv ## Execute one runbook: make runbook NAME=broker-is-down ENV=local
	@scripts/with-engine $(PY) scripts/runbook.py $(ENV) $(or $(NAME),$(error NAME= is a file of docs/runbooks))

docs: venv ## Make docs/reference.md, pictures and plans from the sources, then the site .zads/site/index.html
	@$(PY) scripts/docs.py
	@$(PY) scripts/docs_site.py

down: venv ## Remove what the lab of ENV made: containers, networks, volumes [ENV=all for every one]
	@$(ZADS) lab down $(if $(filter-out all,$(ENV)),$(ENV))

clean: venv ## As down for every ENV, and images and caches as well
	@$(ZADS) lab down
	@scripts/with-engine $(PY) scripts/images.py --remove
	@rm -rf .zads/cache .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
