"""The gate's arithmetic: a candidate against fixed bounds and against the champion."""
