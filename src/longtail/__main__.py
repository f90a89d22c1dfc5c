"""`python -m longtail`, which is also how `torchrun -m longtail represent ...` starts a step."""

from longtail.cli import main

if __name__ == "__main__":
    main()
