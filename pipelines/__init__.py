"""One DAG per published system, and the runners and command line that carry it."""
