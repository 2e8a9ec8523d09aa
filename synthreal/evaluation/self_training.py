"""Self-training: an estimator, the teacher, labels the unlabelled real images, and a new one learns from them as well.

The student sees as many of these photographs as simulated images in every epoch, for no more training steps. It can
learn what the teacher reads right from most photographs; where the teacher errs in one direction, so does the student.
So it helps a classifier, whose errors are few and scattered, more than a regression with an offset (Lee, Pseudo-Label,
2013; Xie et al., Self-training with Noisy Student, CVPR 2020).

Tried on validation splits (2026-12-01, AMD EPYC, float32, one fitted run), error from ``versions`` and then with the
teacher: signs 10.5 % and 5.7 % (one seed; ``augment`` 9.4 and 3.7); with the mean of two teachers of 7.4 and 8.9 %, and
without the photographs on which these differ, 3.6 and 3.3 %. Gaze 5.88 and 6.12 deg, with two such teachers 5.99: no
gain. Hands (bfloat16, two fitted runs; the crop of each unlabelled frame was known): 6.59 and 6.94 px from refined
images, 6.82 and 7.20 with the teacher. Adapting the batch normalisation to real images instead (AdaBN, Li et al. 2016)
gave 7.4 and 9.4 % on signs, where 7.4 and 8.9 were; on hands 6.50 px from refined images, where 6.68 were.

With the warm-up of estimators (bfloat16, three fitted runs, signs): ``augment+teacher`` 2.3, 2.2 and 3.0 %; without the
photographs on which the estimators of ``augment`` and ``histogram`` differ 1.4, 2.9 and 3.2, of ``augment`` and
``versions`` 1.9, 1.4 and 1.5; three versions, augmented, with the latter 1.7, 1.9 and 1.8. So a second teacher helps
here, but augmented versions harm on gaze: 7.6 deg, with such photographs 7.2, where 6.05 were. Not kept, because it
would be for one domain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthreal.data.resident import Resident, prediction_batches
from synthreal.errors import UserError
from synthreal.metrics.label_drift import to_labels
from synthreal.spec import EvaluatorSpec


@torch.no_grad()
def label_images(spec: EvaluatorSpec, teacher: nn.Module, images: Resident, like: Tensor) -> Resident:
    """Unlabelled images with the answers of a teacher as the evaluator's one label; ``like (N, *L)`` are such labels.

    Raises:
        UserError: the evaluator cannot convert its predictions to labels.
    """
    name = spec.requires[0].name
    answers: list[Tensor] = []
    for rows in prediction_batches(images):
        pred = teacher(images.select(rows).image)
        found = to_labels(spec, pred, {name: like.new_zeros((len(rows), *like.shape[1:]))})
        if found is None:
            raise UserError(
                f"evaluator {spec.name!r}: cannot label images; give it an answer, or leave the teacher out"
            )
        answers.append(found[name].to(like.dtype))
    return Resident(images.image, {name: torch.cat(answers)})
