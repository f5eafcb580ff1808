"""Measures: answers, attack success, the backdoor's signal against the federation's noise, and their intervals."""

from fedsonar.measure.attack import AttackScores, score_attack
from fedsonar.measure.blind import BlindReading, blind
from fedsonar.measure.bsnr import crossfit, placebo, plain, twin
from fedsonar.measure.detection import Detection, detection, roc_auc
from fedsonar.measure.examination import Evaluation, Examination, Examiner
from fedsonar.measure.inner_products import ReadingSpace, gram, gram_by_site
from fedsonar.measure.judge import Judge
from fedsonar.measure.link import Link, fit_link
from fedsonar.measure.reading import Reading, cumulative
from fedsonar.measure.selection import Selection, selection
from fedsonar.measure.statistics import Rate, mean_interval, paired_bootstrap, pooled, spearman, wilson
from fedsonar.measure.stealth import Stealth, best_f1, edit_distance, stealth, trivial_detectors
from fedsonar.measure.surprise import surprise
from fedsonar.measure.text import (
    AnswerScores,
    entity_match,
    exact_match,
    label_match,
    normalize,
    rouge_l_recall,
    score_answers,
    token_f1,
)

__all__ = [
    "AnswerScores",
    "AttackScores",
    "BlindReading",
    "Detection",
    "Evaluation",
    "Examination",
    "Examiner",
    "Judge",
    "Link",
    "Rate",
    "Reading",
    "ReadingSpace",
    "Selection",
    "Stealth",
    "best_f1",
    "blind",
    "crossfit",
    "cumulative",
    "detection",
    "edit_distance",
    "entity_match",
    "exact_match",
    "fit_link",
    "gram",
    "gram_by_site",
    "label_match",
    "mean_interval",
    "normalize",
    "paired_bootstrap",
    "placebo",
    "plain",
    "pooled",
    "roc_auc",
    "rouge_l_recall",
    "score_answers",
    "score_attack",
    "selection",
    "spearman",
    "stealth",
    "surprise",
    "token_f1",
    "trivial_detectors",
    "twin",
    "wilson",
]
