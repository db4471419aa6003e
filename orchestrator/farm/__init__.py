"""The farm behind the HTTP server: episodes from their creation to their reward."""
