"""A job on many machines: one keeper of rate and quota, shards, parts."""
