#!/bin/bash
# Run once, on an empty volume, by the image's entrypoint: MLflow's role and its two databases.
set -eu

psql --username postgres --set ON_ERROR_STOP=1 --set password="$MLFLOW_PASSWORD" <<'SQL'
create role mlflow login password :'password';
create database mlflow owner mlflow;
create database mlflow_auth owner mlflow;
SQL
