"""What keeps registered values from becoming directives: tainted text, structural proof, attribution, quarantine."""
