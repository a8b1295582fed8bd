"""The doctor: checks that everything that ctemplate needs is present and permitted. Reads and asks; writes nothing."""

from ctemplate.doctor.diagnosis import Diagnosis, Severity
from ctemplate.doctor.examination import examination

__all__ = ["Diagnosis", "Severity", "examination"]
