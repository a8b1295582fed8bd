"""What the operator may ask of a running ctemplate: its state, its health and its metrics; read-only."""
