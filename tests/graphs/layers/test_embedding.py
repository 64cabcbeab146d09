"""The bag's own gradient against torch's, and the table's promises."""

import pytest
import torch

from graphs.layers.embedding import PAD_ID, BagSum, Embedding, bag_sum
from graphs.models.bag_of_embeddings import BagOfEmbeddings
from utils.optimizers.sparse_adagrad import SparseAdagrad


def random_batch(num_texts: int, longest: int, vocab_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(longest) < torch.randint(1, longest + 1, (num_texts, 1))
    return torch.randint(1, vocab_size, (num_texts, longest)).masked_fill(~mask, PAD_ID), mask


@pytest.mark.parametrize("seed", range(5))
def test_sparse_gradient_equals_the_dense_one(seed: int) -> None:
    torch.manual_seed(seed)
    input_ids, mask = random_batch(9, 13, 40)
    dense, sparse = Embedding(40, 6), Embedding(40, 6, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    weights = torch.randn(9, 6)
    for table in (dense, sparse):
        total, _ = bag_sum(table, input_ids, mask)
        (total * weights).sum().backward()
    assert sparse.weight.grad is not None
    assert sparse.weight.grad.is_sparse
    assert sparse.weight.grad._values().shape[0] == len(input_ids[mask].unique())  # the distinct rows, no more
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)
    torch.testing.assert_close(bag_sum(sparse, input_ids, mask), bag_sum(dense, input_ids, mask))


@pytest.mark.parametrize("batches", [[0, 3], [3, 0], [0, 0, 3], [3, 0, 4], [0, 0]], ids=str)
def test_gradients_add_up_where_a_batch_has_no_row(batches: list[int]) -> None:
    """Micro-batches by their one id; padding, 0, has no gradient."""
    dense, sparse = Embedding(6, 2), Embedding(6, 2, sparse=True)
    for table in (dense, sparse):
        for id in batches:
            bag_sum(table, torch.tensor([[id]]), torch.tensor([[True]]))[0].sum().backward()
    assert sparse.weight.grad is not None
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_a_bag_is_that_of_torch(pooling: str) -> None:
    torch.manual_seed(0)
    model, (input_ids, mask) = BagOfEmbeddings(40, True, embedding_size=6, pooling=pooling), random_batch(9, 13, 40)
    table = model.embedding.weight.detach().clone().requires_grad_()
    bag = torch.nn.EmbeddingBag(40, 6, mode=pooling, padding_idx=PAD_ID, _weight=table)
    found, expected, weights = model(input_ids, mask), bag(input_ids), torch.randn(9, 6)
    torch.testing.assert_close(found, expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    gradient, (theirs,) = model.embedding.weight.grad, bag.parameters()
    torch.testing.assert_close(gradient.to_dense() if gradient.is_sparse else gradient, theirs.grad)
    torch.testing.assert_close(model.eval()(input_ids, mask), expected)


def test_a_sparse_table_gives_in_evaluation_what_it_gives_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sparse path is for training alone; without it the sums are torch's, to the bit the same."""
    model, given = BagOfEmbeddings(40, True, embedding_size=6), random_batch(9, 13, 40)
    trained = model.train()(*given)
    monkeypatch.setattr(BagSum, "apply", lambda *_: pytest.fail("the sparse path in evaluation"))
    evaluated = model.eval()(*given)
    assert torch.equal(evaluated, trained)
    dense = BagOfEmbeddings(40, False, embedding_size=6).eval()
    dense.load_state_dict(model.state_dict())
    torch.testing.assert_close(dense(*given), evaluated)


def test_training_with_sparse_gradients_equals_training_with_dense_ones() -> None:
    models = []
    for is_sparse in (False, True):
        torch.manual_seed(3)
        model = BagOfEmbeddings(30, is_sparse, embedding_size=4)
        kind = SparseAdagrad if is_sparse else torch.optim.Adagrad
        optimizer = kind([{"params": list(model.parameters())}], lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            model(*random_batch(6, 8, 30)).square().sum().backward()
            optimizer.step()
        models.append(model)
    torch.testing.assert_close(models[0].embedding.weight, models[1].embedding.weight)


def test_padding_stays_zero_and_vectors_can_be_frozen() -> None:
    table = Embedding(10, 3)
    table.set_vectors(torch.tensor([2, 5]), torch.tensor([[1.0, 2, 3], [4, 5, 6]]), freeze=True)
    assert table.weight[PAD_ID].abs().sum() == 0
    assert table.weight[5].tolist() == [4, 5, 6]
    assert not table.weight.requires_grad
