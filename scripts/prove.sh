#!/usr/bin/env bash
# Proves what the ledger and the streams promise, at full size. The ledger: a hot account, a million random commands against
# an independent model, kills of the service and of its database, repeated requests, deadlocks. Streams: kills of the proxy,
# clients that leave, everything behind the proxy taken away. Every proof prints its size and its seed and stops by itself.
# Sizes are variables:  make prove PROVE_COMMANDS=50000 PROVE_SEED=7
# Continuous integration runs the same proofs at small sizes, as tests.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"

export PROVE_DEDUCTS="${PROVE_DEDUCTS:-100000}" PROVE_CLIENTS="${PROVE_CLIENTS:-256}" PROVE_SAMPLES="${PROVE_SAMPLES:-1000}"
export PROVE_ACCOUNTS="${PROVE_ACCOUNTS:-10000}" PROVE_COMMANDS="${PROVE_COMMANDS:-1000000}"
export PROVE_SERVICE_KILLS="${PROVE_SERVICE_KILLS:-50}" PROVE_DATABASE_KILLS="${PROVE_DATABASE_KILLS:-10}"
export PROVE_PROXY_KILLS="${PROVE_PROXY_KILLS:-30}" PROVE_STREAMS="${PROVE_STREAMS:-200}" PROVE_LEAVERS="${PROVE_LEAVERS:-500}"
export PROVE_OUTAGE_MILLIS="${PROVE_OUTAGE_MILLIS:-30000}" PROVE_OUTAGE_CLIENTS="${PROVE_OUTAGE_CLIENTS:-100}"
export PROVE_BREAKER_OPEN_SECS="${PROVE_BREAKER_OPEN_SECS:-60}"
export PROVE_REQUESTS="${PROVE_REQUESTS:-20000}" PROVE_STORMY_REQUESTS="${PROVE_STORMY_REQUESTS:-20000}"
# How soon a killed service has to be ready again, people to be told that the database is away, and Flowise to have nothing
# more to do when everybody has left; empty where the machine is busy with something else.
export PROVE_ABORT_MILLIS="${PROVE_ABORT_MILLIS-1000}"
export PROVE_READY_MILLIS="${PROVE_READY_MILLIS-2000}" PROVE_TOLD_MILLIS="${PROVE_TOLD_MILLIS-1000}"
# The rules alone, without a database: sequences of up to sixteen commands with time moving.
export LEDGER_SEQUENCES="${LEDGER_SEQUENCES:-200000}"

# One after the other, so that each has the machine to itself; in release mode, for a million requests take a while.
what='binary(proofs) | test(the_rules_agree_with_a_naive_ledger) | test(a_thousand_holds) | test(/^expiry::/)'
if cargo nextest --version >/dev/null 2>&1; then
    exec "$here/test.sh" --release --no-capture -E "$what" "$@"
fi
exec "$here/test.sh" --release -- --test-threads 1 --nocapture accounts_against_a_model deadlocks hot_account killed:: \
    repeated_requests streams_killed clients_leave outages_under_load naive_ledger a_thousand_holds expiry:: "$@"
