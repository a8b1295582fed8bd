"""Why no registered value can write a directive: tainted text, structural proof, attribution, quarantine."""
