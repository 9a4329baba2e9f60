"""Sans-IO protocol cores: bytes and `now` in; bytes, events and a deadline out."""
