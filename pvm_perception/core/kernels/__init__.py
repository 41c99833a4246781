"""The hierarchy's inference as a few fused kernels, for GPUs and CPUs, and what they should cost."""
