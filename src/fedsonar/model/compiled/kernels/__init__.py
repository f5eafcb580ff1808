"""How kernels are made, and the kernels: what a pass through the compiled network does beside library products."""
