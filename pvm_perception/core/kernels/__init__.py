"""The hierarchy's inference as a few fused CUDA kernels, and what they should cost."""
