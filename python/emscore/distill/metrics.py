"""The metrics of `emscore.fidelity`, under the name that this package used for them."""

from ..fidelity.metrics import Bools, Floats, auroc, ece, f1, kappa, mae, pearson

__all__ = ["Bools", "Floats", "auroc", "ece", "f1", "kappa", "mae", "pearson"]
