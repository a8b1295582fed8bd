"""The doctor: is everything that ctemplate needs here, and allowed? Looks and asks; writes nothing."""

from ctemplate.doctor.diagnosis import Diagnosis, Severity
from ctemplate.doctor.examination import examination

__all__ = ["Diagnosis", "Severity", "examination"]
