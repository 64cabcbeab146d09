"""Pictures made without a plotting library."""
