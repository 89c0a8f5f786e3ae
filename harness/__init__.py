"""Everything up to the record: drive devices, predict, load, observe, judge."""
