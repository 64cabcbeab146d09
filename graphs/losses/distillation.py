"""Knowledge distillation (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2), as a sum. B: texts, L: labels."""

from torch import Tensor
from torch.nn import functional

from graphs.losses.cross_entropy import CrossEntropy


class Distillation(CrossEntropy):
    """Cross-entropy with the labels, and KL divergence from the predictions of a trained run, the teacher.

    teacher: the folder of a trained run with the same labels, whatever its model and tokenizer
    alpha: weight of the teacher's term; 0: the labels alone, 1: the teacher alone
    temperature: divides the logits of teacher and student; larger values give a softer distribution

    The factor temperature ** 2 keeps the gradient's scale. Without the teacher's logits, as in validation, it is cross-entropy.
    """

    def __init__(
        self,
        labels: list[str],
        *,
        teacher: str,
        alpha: float = 0.5,
        temperature: float = 2.0,
        class_weights: dict[str, float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(labels, class_weights=class_weights, label_smoothing=label_smoothing)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.teacher, self.alpha, self.temperature = teacher, alpha, temperature

    def forward(self, logits: Tensor, labels: Tensor, teacher_logits: Tensor | None = None) -> Tensor:
        """logits and teacher_logits (B, L), labels (B,) with -100 for ignored texts -> the sum over counted labels, ()."""
        hard = super().forward(logits, labels)
        if teacher_logits is None:
            return hard
        student = functional.log_softmax(logits / self.temperature, dim=-1)
        teacher = functional.log_softmax(teacher_logits / self.temperature, dim=-1)
        divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)  # (B,)
        soft = self.weigh(divergence, labels) * self.temperature**2
        return (1 - self.alpha) * hard + self.alpha * soft
