"""The job file: its models and schema, loading, diagnostics and follow-up steps."""
