"""Tests of batchrec/engine, file by file."""
