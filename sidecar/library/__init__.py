"""The database: the only place that knows SQL. Above it there are no errors of sqlite3."""
