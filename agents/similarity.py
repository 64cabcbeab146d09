"""Text similarity: two texts -> whether they mean the same, by vectors that one encoder makes of each text alone."""

import functools
from typing import ClassVar

from agents.classification import ClassificationAgent
from agents.classifying.artifacts import LabelArtifacts
from agents.classifying.labels import SingleLabel
from agents.running.building import build_encoders
from agents.running.text_data import TextData
from datasets.rows.corpus import Corpus
from graphs.models.cosine_head import CosineHead
from graphs.models.text_classifier import TextClassifier
from utils.config.schema import Section, construct


class SimilarityAgent(ClassificationAgent):
    """Trains a siamese encoder of pairs of texts: one encoder for both fields, and a head that reads their cosine.

    The loss, the metrics and the predictions are those of classification with two labels.
    """

    sections: ClassVar[dict[str, Section]] = {**ClassificationAgent.sections, "head": Section(shared=CosineHead)}

    def check_data(self) -> None:
        data = self.config.data
        if wrong := [name for name in ("pair", "join_fields", "multi_label") if data[name]]:
            raise self.config.error(
                f"data.{wrong[0]}",
                f"data.{wrong[0]}: true does not fit agent similarity, which encodes two fields one by one",
            )
        if len(data.fields) != 2:
            raise self.config.error(
                "data.fields", f"agent similarity compares two fields, got data.fields {data.fields}"
            )
        super().check_data()

    @functools.cached_property
    def corpus(self) -> Corpus:
        corpus = super().corpus
        corpus.needs_all_fields = True  # as of a pair, though each of its texts is encoded alone
        return corpus

    def build_model(self, artifacts: LabelArtifacts) -> TextClassifier:
        self.labels, self.kind = list(artifacts.labels), SingleLabel()
        encoder = build_encoders(self.config, 1, artifacts.tokenizer.vocab_size, len(self.labels), self.device)
        head = construct(self.config, "head", CosineHead, self.config.head, labels=self.labels)
        return TextClassifier(encoder, head)

    def read_data(self) -> TextData:
        data = super().read_data()
        labels, positive = list(data.artifacts.labels), self.config.head.positive
        if len(labels) != 2 or positive not in (None, *labels):
            raise self.config.error(
                "head.positive",
                f"agent similarity needs two labels, one of them head.positive; the data has {', '.join(labels)}, "
                f"head.positive is {positive}",
            )
        return data
