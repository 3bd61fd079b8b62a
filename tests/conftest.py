"""One thread a process: small problems are slower on two, and the tests run in parallel."""

import torch

torch.set_num_threads(1)
