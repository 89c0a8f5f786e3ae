"""Everything after the record: store, judge, publish. Never imports `harness`."""
