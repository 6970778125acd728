"""Images by URL: addresses and their checks, a cache in the state folder, the fetcher, and the store."""
