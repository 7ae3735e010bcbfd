"""The network and the training loop of one member, written with torch.nn and torch.optim alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training_data import SPECS

from pipeline.data.prepared import Prepared
from pipeline.training.members import Member
from pipeline.training.population import Population
from pipeline.training.streams import Streams


class StockNetwork(nn.Module):
    """The network of one member out of torch.nn, started from that member's parameters."""

    def __init__(self, population: Population, k: int) -> None:
        super().__init__()
        state, shape = population.state, population.state.architecture
        named = state.named(state.snapshot()[k])

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(named[name])

        self.tables = nn.ModuleList(
            nn.Embedding.from_pretrained(table.clone(), freeze=False)
            for table in tensor("embedding.table").split(list(shape.n_codes))
        )
        widths = [shape.n_features, *shape.layers]
        layers: list[nn.Module] = []
        for index in range(len(shape.layers)):
            layers += [nn.Linear(widths[index], widths[index + 1]).double(), nn.ReLU()]
            self._fill(layers[-2], tensor, f"sharing.trunk.layers.{index}")
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict()
        for index, (task, width) in enumerate(shape.heads.items()):
            self.heads[task] = nn.Linear(widths[-1], width).double()
            own = torch.tensor([owner == index for owner in population.model.owners("heads.bias")])
            self.heads[task].weight.data = tensor("heads.weight")[:, own].T.clone()
            self.heads[task].bias.data = tensor("heads.bias")[0, own].clone()

    @staticmethod
    def _fill(layer: nn.Module, tensor: Callable[[str], Tensor], name: str) -> None:
        assert isinstance(layer, nn.Linear)
        layer.weight.data = tensor(f"{name}.weight").T.clone()
        layer.bias.data = tensor(f"{name}.bias")[0].clone()

    def forward(self, numeric: Tensor, codes: Tensor) -> dict[str, Tensor]:
        embedded = [table(codes[:, c].long()) for c, table in enumerate(self.tables)]
        read = self.trunk(torch.cat([numeric, *embedded], dim=1))
        return {task: head(read) for task, head in self.heads.items()}


def stock_loss(task: str, output: Tensor, target: Tensor, price: tuple[float, float]) -> Tensor:
    """The mean over labelled rows, by the losses of torch."""
    rows = ~(target.isnan() if target.dim() == 1 else target.isnan().any(1))
    output, target = output[rows], target[rows].double()
    if task == "bought":
        return F.binary_cross_entropy_with_logits(output[:, 0], target)
    if task == "colour":
        return F.cross_entropy(output, target.long())
    if task == "price":
        return F.mse_loss(output[:, 0], (target - price[0]) / price[1])
    return F.binary_cross_entropy_with_logits(output, target)


def train_stock(
    network: StockNetwork,
    one: Member,
    prepared: Prepared,
    make: Callable[[list[nn.Parameter], Member], torch.optim.Optimizer],
) -> None:
    part = prepared.parts["train"]
    numeric, codes = torch.from_numpy(part.numeric).double(), torch.from_numpy(part.codes)
    targets = {task: torch.from_numpy(target) for task, target in part.targets.items()}
    fitted = {task.name: task.options for task in prepared.tasks}["price"]
    optimizer = make(list(network.parameters()), one)
    n_steps = -(-len(part) // one.train.batch_size) * one.train.epochs
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)
    streams = Streams(one.stream)
    for epoch in range(1, one.train.epochs + 1):
        streams.start(epoch)
        for rows in streams.permutation("order", len(part)).split(one.train.batch_size):
            outputs = network(numeric[rows], codes[rows])
            losses = [
                stock_loss(task, outputs[task], targets[task][rows], (fitted["mean"],
                           fitted["std"])) * weight
                for task, weight in zip(SPECS, one.weights, strict=True)
            ]  # fmt: skip
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            if one.train.clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), one.train.clip)
            optimizer.step()
            cosine.step()
