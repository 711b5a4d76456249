"""Where objects are kept: the Store protocol (`store`), and its implementation on SQLite and PostgreSQL (`sql`)."""
