"""What runs say beside each other: paired tests, intervals over seeds, tables. Of torch only group_log knows."""
