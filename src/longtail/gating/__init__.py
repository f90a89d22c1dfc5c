"""The gate's arithmetic: a candidate compared with fixed bounds and with the champion."""
