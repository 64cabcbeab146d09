"""Several processes of one run: ranks, collectives, and how they end together."""
