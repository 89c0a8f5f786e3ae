"""Records in InfluxDB: as line protocol, in the outbox, and on their way."""
