"""Reference implementations and parity with official results, for tests, tools and benchmarks."""
