"""Bring both databases of MLflow up to date; one pod at a time, or two would make the same tables.

libpq finds host, user and password in its own variables; the lock ends with the connection.
"""

import os
import subprocess
import sys

import psycopg2

lock = psycopg2.connect(dbname="mlflow")
lock.cursor().execute("select pg_advisory_lock(5000)")
tracking = ["mlflow", "db", "upgrade", os.environ["MLFLOW_BACKEND_STORE_URI"]]
users = ["mlflow.server.auth", "db", "upgrade", "--url", "postgresql+psycopg2:///mlflow_auth"]
subprocess.run([sys.executable, "-m", *tracking], check=True)
subprocess.run([sys.executable, "-m", *users], check=True)
