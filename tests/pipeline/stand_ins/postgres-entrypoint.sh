#!/bin/bash
# What the official image documents and the manifests rely on: the first start makes a cluster in
# PGDATA with POSTGRES_PASSWORD and runs the scripts of /docker-entrypoint-initdb.d; then it serves.
set -eu

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    initdb --username postgres --auth trust --pwfile <(echo "$POSTGRES_PASSWORD") >/dev/null
    pg_ctl --wait --options "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        bash "$script"
    done
    pg_ctl --wait stop
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c "listen_addresses=*"
