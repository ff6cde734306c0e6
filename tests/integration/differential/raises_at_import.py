"""A module whose import fails with an exception of its own."""

raise RuntimeError("no configuration")
