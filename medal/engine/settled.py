"""What numbers depend on in a process: threads and deterministic kernels, the same wherever a job runs."""

from __future__ import annotations


def settle_process(threads: int) -> None:
    """Fixes threads and deterministic kernels of this process.

    Args:
        threads: of every numeric library that is loaded by now; a sum is cut into as many parts.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
