"""Registry of encoders: forward(input_ids, attention_mask) -> (B, output_size). To add one, write a file and register it here."""

from torch import nn

from graphs.models.bag_of_embeddings import BagOfEmbeddings
from graphs.models.bert import Bert
from graphs.models.bilstm import BiLSTM
from graphs.models.transformer import TransformerEncoder

ENCODERS: dict[str, type[nn.Module]] = {
    "bag_of_embeddings": BagOfEmbeddings,
    "bilstm": BiLSTM,
    "transformer": TransformerEncoder,
    "bert": Bert,
}
