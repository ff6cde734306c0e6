"""The dashboards' generator; see README.md."""
