"""One file a step: files in, files out."""
