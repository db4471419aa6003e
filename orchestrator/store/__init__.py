"""The store: tables, migrations, one writer, many readers."""
