"""Rules for images and splits: tables about them, Great Expectations on the tables, Data Docs."""

import os

# Read by Great Expectations when it is imported, so it must be set before any module below.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
