"""Room 5: what a person looks at: the report of a case, the page of a cohort, the local viewer."""
