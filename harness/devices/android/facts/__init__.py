"""What a phone says of itself. Parsers are pure and tolerant; see `read_facts`."""
