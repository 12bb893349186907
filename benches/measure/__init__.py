"""The parts of benches/compare and benches/directories."""
