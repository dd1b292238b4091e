"""What benches/peers is made of: the data, the tools, the timing, the checks and the tables."""
