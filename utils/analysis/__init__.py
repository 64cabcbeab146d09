"""What runs say beside each other: paired tests, intervals over seeds, tables. Nothing here imports torch."""
