"""Where populations train."""

import torch

CPU = torch.device("cpu")
