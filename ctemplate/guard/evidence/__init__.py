"""What the rules decide by: entries, holds, policies, proofs of a loss, known servers, and what is reported."""
