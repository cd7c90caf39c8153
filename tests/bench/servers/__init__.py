"""What is measured beside ovauth: each server is a program of its own, started by `tests.bench.contenders`."""
