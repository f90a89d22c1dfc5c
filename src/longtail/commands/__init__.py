"""What the command line adds to the steps: options, cost records, provenance."""
