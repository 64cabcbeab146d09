"""Sparse gradients of tables of word vectors: every row once, and added up over processes.

V: vocabulary size, E: embedding size, R: rows of a gradient.
"""

import torch
from torch import Tensor, nn


def sparse_tables(model: nn.Module) -> list[nn.Parameter]:
    """The tables (V, E) that have sparse gradients and learn."""
    found = [module.weight for module in model.modules() if getattr(module, "sparse", False)]
    return [weight for weight in found if isinstance(weight, nn.Parameter) and weight.requires_grad]


def coalesced(gradient: Tensor) -> Tensor:
    """A sparse gradient with every row once. Autograd drops the mark that it is so already, and to coalesce again costs a sort."""
    rows = gradient._indices()[0]
    if bool((rows[1:] > rows[:-1]).all()):
        return gradient._coalesced_(True)
    return gradient.coalesce()


def mean_over_processes(gradient: Tensor, size: int) -> Tensor:
    """The mean of what so many processes have, (V, E) with every row once; each of them must call this.

    Rows and values are gathered as dense tensors of one length. The all-reduce of sparse tensors that DistributedDataParallel
    would call exists for gloo alone, and has ended runs by SIGSEGV and SIGABRT, once in some 5,000 steps (torch 2.13).
    """
    gradient = coalesced(gradient)
    rows, values = gradient._indices()[0], gradient._values()  # (R,), (R, E)
    counts = torch.cat(_gathered(torch.tensor([len(rows)], device=rows.device), size)).tolist()
    longest = max(counts)
    if longest == 0:
        return gradient
    missing = longest - len(rows)
    all_rows = _gathered(nn.functional.pad(rows, (0, missing)), size)
    all_values = _gathered(nn.functional.pad(values, (0, 0, 0, missing)), size)
    rows = torch.cat([part[:count] for part, count in zip(all_rows, counts, strict=True)])
    values = torch.cat([part[:count] for part, count in zip(all_values, counts, strict=True)])
    return torch.sparse_coo_tensor(rows[None], values / size, gradient.shape, check_invariants=False).coalesce()


def _gathered(tensor: Tensor, size: int) -> list[Tensor]:
    """The tensors of all processes, of one shape, by rank."""
    parts = [torch.empty_like(tensor) for _ in range(size)]
    torch.distributed.all_gather(parts, tensor)
    return parts
