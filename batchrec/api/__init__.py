"""One call to the service: catalogue, error codes, credentials, transport and retries."""
