"""What lies outside of the process: storage, tracking, the model registry."""

import os

# MLflow would report its use to its makers from the moment it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Its bars are drawn into logs too.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
