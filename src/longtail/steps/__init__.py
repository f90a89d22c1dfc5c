"""The steps, one module each: files in, files out. Beside them, parts of steps and of commands."""
