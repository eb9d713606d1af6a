"""Reference implementations and parity checks against official results, for tests, tools and benchmarks."""
