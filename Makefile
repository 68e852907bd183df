# Everything is a script in scripts/. Variables given here (make up AUTH_PORT=4000) reach it as environment.
.DEFAULT_GOAL := help
.PHONY: help up down logs status test prove check bench smoke backup restore \
	compose-up compose-down compose-logs compose-status build start stop restart clean

help: ## Lists what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 18

up: ## Builds and starts everything here, with a user who can chat
	@scripts/up.sh

down: ## Stops what up has started; the data stays
	@scripts/down.sh

logs: ## Shows the logs of make up, or else of the containers; SERVICE=proxy-service for one
	@scripts/logs.sh

status: ## Says what runs and is ready, here or in containers
	@scripts/status.sh

test: ## Runs every test on databases of its own; ARGS="-E 'package(proxy-service)'" for some
	@scripts/test.sh $(ARGS)

prove: ## Proves ledger and streams at full size: a million commands, kills, outages; PROVE_COMMANDS=50000 for less
	@scripts/prove.sh

check: ## Formatting, lints, documentation, dependencies: what CI wants
	@scripts/check.sh

bench: ## Measures turns, streams and ledger commands beside nginx and pgbench
	@scripts/bench.sh

compose-up: ## Everything in containers; PROFILE=dev, flowise, observability, scale (deploy/compose.yaml)
	@scripts/compose.sh up

compose-down: ## Stops and removes the containers; the data stays
	@scripts/compose.sh down

compose-logs: ## Follows the logs of the containers; SERVICE=auth-service for one
	@scripts/compose.sh logs

compose-status: ## Says which containers run and are healthy
	@scripts/compose.sh status

build: ## Builds the images and prints their sizes
	@scripts/compose.sh build

start: compose-up ## The same as compose-up

stop: compose-down ## The same as compose-down

restart: ## Restarts the containers; SERVICE=auth-service for one
	@scripts/compose.sh restart

clean: ## Removes the containers and ALL THEIR DATA; asks first
	@scripts/compose.sh clean

smoke: ## Goes through an installation as people do; URL=https://chat.example.org
	@scripts/smoke.sh

backup: ## Saves the databases of the containers; TO=/var/backups/flowgate
	@scripts/backup.sh

restore: ## Puts a backup back; FROM=/var/backups/flowgate/20300131T030000Z
	@scripts/restore.sh
