"""Where results lie on disk: a case's folder, what may be replaced, tables that are safe to open."""
