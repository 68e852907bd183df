# Everything is a script in scripts/. Variables given here (make up AUTH_PORT=4000) reach it as environment.
.DEFAULT_GOAL := help
.PHONY: help up down logs status test prove check bench

help: ## Lists what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 10

up: ## Builds and starts everything here, with a user who can chat
	@scripts/up.sh

down: ## Stops what up has started; the data stays
	@scripts/down.sh

logs: ## Shows the logs; SERVICE=proxy-service for one
	@scripts/logs.sh

status: ## Says what runs and is ready
	@scripts/status.sh

test: ## Runs every test on databases of its own; ARGS="-E 'package(proxy-service)'" for some
	@scripts/test.sh $(ARGS)

prove: ## Proves the ledger at full size: a million commands, kills, deadlocks; PROVE_COMMANDS=50000 for less
	@scripts/prove.sh

check: ## Formatting, lints, documentation, dependencies: what CI wants
	@scripts/check.sh

bench: ## Measures turns and ledger commands beside nginx and pgbench
	@scripts/bench.sh
